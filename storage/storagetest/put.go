package storagetest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/humo-worker/humo-worker/storage"
)

// holds checks that the object's URL gives the whole content, as a video.
func holds(t *testing.T, object storage.Object, want []byte) {
	t.Helper()
	got := get(t, object.URL)
	if got.status != http.StatusOK || !bytes.Equal(got.body, want) {
		t.Errorf("%q: status %d and %d bytes, want 200 and the %d that were put", object.Key, got.status, len(got.body), len(want))
	}
	if kind := got.header.Get("Content-Type"); kind != "video/mp4" {
		t.Errorf("%q: Content-Type %q, want video/mp4", object.Key, kind)
	}
}

func testPut(t *testing.T, s Subject) {
	want := content(1, 3<<20+17)
	object := put(t, s, "job-1/video.mp4", want)
	if object.Key != "job-1/video.mp4" {
		t.Errorf("Key = %q, want the key that was given", object.Key)
	}
	holds(t, object, want)
	onlyVisible(t, s, "job-1/video.mp4")
}

// testLarge is more than stores send in one piece.
func testLarge(t *testing.T, s Subject) {
	want := content(2, 65<<20+12345)
	holds(t, put(t, s, "job/video.mp4", want), want)
	onlyVisible(t, s, "job/video.mp4")
}

func testOverwrite(t *testing.T, s Subject) {
	var first storage.Object
	for seed, size := range []int{70_000, 1000} { // the second is shorter: no tail of the first may stay
		want := content(uint64(seed), size)
		object := put(t, s, "job/video.mp4", want)
		holds(t, object, want)
		if seed == 0 {
			first = object
		} else {
			holds(t, first, want)
		}
	}
	onlyVisible(t, s, "job/video.mp4")
}

func testEmpty(t *testing.T, s Subject) {
	holds(t, put(t, s, "empty.mp4", nil), nil)
}

func testUnusualKeys(t *testing.T, s Subject) {
	keys := []string{
		"100% of + & = ? # it; (a'b) @, ~$!*:.mp4", "a b/c  d.mp4", "job/%2e%2e%2f.mp4", "job/ü é 日本語 🎬.mp4", "job/<&>\".mp4",
		"j/" + strings.Repeat("x", 150) + ".mp4",
	}
	for i, key := range keys {
		want := content(uint64(i), 1000+i)
		holds(t, put(t, s, key, want), want)
		if got, err := s.Store.Get(t.Context(), key); err != nil || !bytes.Equal(got, want) {
			t.Errorf("Get(%q): %d bytes, error %v; want what was put", key, len(got), err)
		}
		object, err := s.Store.Sign(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, object, want)
	}
	slices.Sort(keys)
	onlyVisible(t, s, keys...)
}

func testRefusesKeys(t *testing.T, s Subject) {
	path := file(t, content(2, 10))
	for _, key := range []string{
		"", ".", "..", "/", "/etc/x", "../x", "a/../../x", "a/./b", "a//b", "a/", ".hidden", "a/.hidden",
		"a\\b", "a\x00b", "a/\n", "a/\x7f", " a", "a /b", "a/\u202egpj.mp4", "a/\xff", strings.Repeat("a", 201), strings.Repeat("a/", 600) + "a",
	} {
		if _, err := s.Store.Put(t.Context(), key, path, "video/mp4"); err == nil {
			t.Errorf("Put(%q) succeeded, want a refusal", key)
		}
		if _, err := s.Store.Get(t.Context(), key); err == nil || errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Get(%q): error %v, want a refusal", key, err)
		}
		if _, err := s.Store.Sign(t.Context(), key); err == nil || errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Sign(%q): error %v, want a refusal", key, err)
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

// testInterrupted: a put that breaks in the middle shows nothing under a new key, changes nothing under an old one, and
// leaves nothing behind.
func testInterrupted(t *testing.T, s Subject) {
	if len(s.Interrupts) == 0 {
		t.Fatal("the subject has no Interrupts")
	}
	old := content(4, 5000)
	object := put(t, s, "old/video.mp4", old)
	for name, interrupt := range s.Interrupts {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"new/video.mp4", "old/video.mp4"} {
				if err := interrupt(t, key); err == nil {
					t.Errorf("%s: no error", key)
				}
				holds(t, object, old)
				onlyVisible(t, s, "old/video.mp4")
			}
		})
	}
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
	if got := get(t, objects[0].URL); !contents[string(got.body)] {
		t.Errorf("the object is none of the %d files that were put", writers)
	}
	onlyVisible(t, s, "job/video.mp4")
}
