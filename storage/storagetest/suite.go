// Package storagetest is the conformance suite of storage.Store: what every store promises, tested the same way on all
// of them.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/humo-worker/humo-worker/storage"
)

// Subject is the store under test and a way around it.
type Subject struct {
	Store storage.Store
	// Fetch reads an object through its URL, as the caller of a job would.
	Fetch func(t *testing.T, object storage.Object) []byte
	// Visible lists every key that can be seen in the store.
	Visible func(t *testing.T) []string
}

// Run tests a store. open returns an empty one; it is called once per test.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	tests := []struct {
		name string
		test func(*testing.T, Subject)
	}{
		{"Put", testPut},
		{"Overwrite", testOverwrite},
		{"Empty", testEmpty},
		{"RefusesKeys", testRefusesKeys},
		{"MissingFile", testMissingFile},
		{"Cancelled", testCancelled},
		{"SameKeyAtOnce", testSameKeyAtOnce},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(t, open(t)) })
	}
}

func testPut(t *testing.T, s Subject) {
	want := content(1, 3<<20+17)
	object, err := s.Store.Put(t.Context(), "job-1/video.mp4", file(t, want), "video/mp4")
	if err != nil {
		t.Fatal(err)
	}
	if object.Key != "job-1/video.mp4" {
		t.Errorf("Key = %q, want the key that was given", object.Key)
	}
	if got := s.Fetch(t, object); !bytes.Equal(got, want) {
		t.Errorf("fetched %d bytes that differ from the %d stored", len(got), len(want))
	}
	onlyVisible(t, s, "job-1/video.mp4")
}

func testOverwrite(t *testing.T, s Subject) {
	for seed, size := range []int{70_000, 1000} { // the second is shorter: no tail of the first may stay
		want := content(uint64(seed), size)
		object, err := s.Store.Put(t.Context(), "job/video.mp4", file(t, want), "video/mp4")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Fetch(t, object); !bytes.Equal(got, want) {
			t.Errorf("put %d: fetched %d bytes that differ from the %d stored", seed, len(got), len(want))
		}
	}
	onlyVisible(t, s, "job/video.mp4")
}

func testEmpty(t *testing.T, s Subject) {
	object, err := s.Store.Put(t.Context(), "empty.bin", file(t, nil), "application/octet-stream")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Fetch(t, object); len(got) != 0 {
		t.Errorf("fetched %d bytes of an empty object", len(got))
	}
}

func testRefusesKeys(t *testing.T, s Subject) {
	path := file(t, content(2, 10))
	for _, key := range []string{
		"", ".", "..", "/", "/etc/x", "../x", "a/../../x", "a/./b", "a//b", "a/", ".hidden", "a/.hidden",
		"a\\b", "a\x00b", "a b", "ü", "a/\n",
	} {
		if _, err := s.Store.Put(t.Context(), key, path, "video/mp4"); err == nil {
			t.Errorf("Put(%q) succeeded, want a refusal", key)
		}
	}
	onlyVisible(t, s)
}

func testMissingFile(t *testing.T, s Subject) {
	_, err := s.Store.Put(t.Context(), "job/video.mp4", filepath.Join(t.TempDir(), "absent"), "video/mp4")
	if err == nil {
		t.Error("Put of a file that does not exist succeeded")
	}
	onlyVisible(t, s)
}

func testCancelled(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Store.Put(ctx, "job/video.mp4", file(t, content(3, 1<<20)), "video/mp4")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Put under a cancelled context: error %v, want context.Canceled", err)
	}
	onlyVisible(t, s)
}

// testSameKeyAtOnce: whoever is last wins, but a reader never sees a mixture.
func testSameKeyAtOnce(t *testing.T, s Subject) {
	const writers = 8
	var objects [writers]storage.Object
	var errs [writers]error
	contents := map[string]bool{}
	paths := make([]string, writers)
	for i := range writers {
		data := content(uint64(i), 200_000+i)
		contents[string(data)] = true
		paths[i] = file(t, data)
	}
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			objects[i], errs[i] = s.Store.Put(t.Context(), "job/video.mp4", paths[i], "video/mp4")
		})
	}
	group.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if got := s.Fetch(t, objects[0]); !contents[string(got)] {
		t.Errorf("the object is none of the %d files that were put", writers)
	}
	onlyVisible(t, s, "job/video.mp4")
}

// onlyVisible checks that the store shows these keys and nothing else: no temporary file, no trace of a refused put.
func onlyVisible(t *testing.T, s Subject, want ...string) {
	t.Helper()
	if got := s.Visible(t); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the store shows %q, want %q", got, want)
	}
}

func content(seed uint64, size int) []byte {
	data := make([]byte, size)
	source := rand.New(rand.NewPCG(seed, 42))
	for i := range data {
		data[i] = byte(source.Uint32())
	}
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
