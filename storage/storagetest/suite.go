// Package storagetest is the conformance suite of storage.Store: what every store promises, tested the same way on all
// of them. It also starts a real S3 server, for the tests of whoever writes to a bucket.
package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

// Subject is the store under test and ways around it. Its URLs are those of a server on this machine.
type Subject struct {
	Store storage.Store
	// Visible lists every key that can be seen in the store, sorted.
	Visible func(t *testing.T) []string
	// Residue lists what unfinished puts have left behind.
	Residue func(t *testing.T) []string
	// Interrupts are puts under a key that break in the middle of the file, by what breaks them. They return Put's error.
	Interrupts map[string]func(t *testing.T, key string) error
	// Backdated is the store as it was some time ago: what it signs was signed then.
	Backdated func(age time.Duration) storage.Store
}

// Run tests a store. open returns an empty one; it is called once per test.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	tests := []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"Put", testPut},
		{"Large", testLarge},
		{"Overwrite", testOverwrite},
		{"Empty", testEmpty},
		{"UnusualKeys", testUnusualKeys},
		{"RefusesKeys", testRefusesKeys},
		{"MissingFile", testMissingFile},
		{"Cancelled", testCancelled},
		{"Interrupted", testInterrupted},
		{"SameKeyAtOnce", testSameKeyAtOnce},
		{"Get", testGet},
		{"NotFound", testNotFound},
		{"Download", testDownload},
		{"Delete", testDelete},
		{"Sign", testSign},
		{"Expiry", testExpiry},
		{"Expired", testExpired},
		{"Unsigned", testUnsigned},
		{"Tampered", testTampered},
		{"Range", testRange},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(t, open(t)) })
	}
}

// put stores data and fails the test when that does not work.
func put(t *testing.T, s Subject, key string, data []byte) storage.Object {
	t.Helper()
	object, err := s.Store.Put(t.Context(), key, file(t, data), "video/mp4")
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// answer is what an HTTP server answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get does what the caller of a job would, who has nothing but the URL.
func get(t *testing.T, url string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, body}
}

// onlyVisible checks that the store shows these keys and nothing else: no temporary file, no trace of a refused put.
func onlyVisible(t *testing.T, s Subject, want ...string) {
	t.Helper()
	if got := s.Visible(t); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("the store shows %q, want %q", got, want)
	}
	if got := s.Residue(t); len(got) > 0 {
		t.Errorf("unfinished puts left %q", got)
	}
}

func content(seed uint64, size int) []byte {
	data := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	source.Read(data) //nolint:errcheck // it never fails
	return data
}

func file(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// testDownload brings back an object that is too large for Get.
func testDownload(t *testing.T, s Subject) {
	data := content(5, storage.MaxGet+100_000)
	put(t, s, "job/checkpoint", data)
	path := filepath.Join(t.TempDir(), "checkpoint")
	if err := s.Store.Download(t.Context(), "job/checkpoint", path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back, want %d (%v)", len(got), len(data), err)
	}
	if err := s.Store.Download(t.Context(), "job/nothing", filepath.Join(t.TempDir(), "none")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a missing object gives %v", err)
	}
}

// testDelete removes an object and nothing else, and does not mind when there is none.
func testDelete(t *testing.T, s Subject) {
	put(t, s, "job/a", []byte("a"))
	put(t, s, "job/b", []byte("b"))
	for range 2 {
		if err := s.Store.Delete(t.Context(), "job/a"); err != nil {
			t.Fatal(err)
		}
	}
	onlyVisible(t, s, "job/b")
	if err := s.Store.Delete(t.Context(), "../b"); fault.CodeOf(err) != storage.CodeInvalidKey {
		t.Errorf("a key that leads out gives %v", err)
	}
}
