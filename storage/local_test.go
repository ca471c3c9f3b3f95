package storage_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
	"github.com/humo-worker/humo-worker/storage/storagetest"
)

func TestLocal(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Subject {
		dir := filepath.Join(t.TempDir(), "out put") // made by OpenLocal
		store := serve(t, dir)
		return storagetest.Subject{
			Store:   store,
			Visible: func(t *testing.T) []string { return slices.DeleteFunc(files(t, dir), isPartial) },
			Residue: func(t *testing.T) []string {
				return slices.DeleteFunc(files(t, dir), func(f string) bool { return !isPartial(f) })
			},
			Interrupts: map[string]func(*testing.T, string) error{
				"Cancelled": func(t *testing.T, key string) error { return cancelledInTheMiddle(t, store, key) },
			},
			Backdated: func(age time.Duration) storage.Store { return storage.Backdated(store, age) },
		}
	})
}

func isPartial(name string) bool { return strings.HasSuffix(name, ".partial") }

// serve opens a store whose files a server on this machine serves.
func serve(t *testing.T, dir string) *storage.Local {
	t.Helper()
	var store *storage.Local
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { store.Files().ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	var err error
	if store, err = storage.OpenLocal(storage.LocalConfig{Output: dir, BaseURL: server.URL + "/", Secret: "s3cret"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() }) //nolint:errcheck // a folder handle
	return store
}

// cancelledInTheMiddle puts a pipe, and cancels after its first half.
func cancelledInTheMiddle(t *testing.T, store storage.Store, key string) error {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err == nil {
			_, err = w.Write(make([]byte, 1<<20)) // more than a pipe holds: most of it has been read then
			cancel()
			err = errors.Join(err, w.Close())
		}
		done <- err
	}()
	_, err := store.Put(ctx, key, pipe, "video/mp4")
	if writeErr := <-done; writeErr != nil {
		t.Fatal(writeErr)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	return err
}

func TestLocalURLIsAbsolute(t *testing.T) {
	t.Chdir(t.TempDir())
	object, err := open(t, "relative").Put(t.Context(), "a.mp4", write(t, "x"), "video/mp4")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(object.URL, "file:///") || !strings.HasSuffix(object.URL, "/relative/a.mp4") {
		t.Errorf("URL = %q, want file:///…/relative/a.mp4", object.URL)
	}
	if !object.ExpiresAt.IsZero() {
		t.Errorf("ExpiresAt = %v, want zero: a local file does not expire", object.ExpiresAt)
	}
}

func TestLocalRefusesSymlinkOut(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "job")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Put(t.Context(), "job/video.mp4", write(t, "x"), "video/mp4"); err == nil {
		t.Error("Put through a symbolic link that leaves the folder succeeded")
	}
	if got := files(t, outside); got != nil {
		t.Errorf("files appeared outside of the folder: %q", got)
	}
}

func TestLocalRefusesFileAsFolder(t *testing.T) {
	_, err := storage.NewLocal(write(t, "x"))
	if fault.CodeOf(err) != "invalid_setting" || !strings.Contains(err.Error(), "HUMO_OUTPUT") {
		t.Errorf("error %v, want invalid_setting that names HUMO_OUTPUT", err)
	}
}

// TestLocalSweep: what dead processes left goes, what a live one writes and what users keep stays.
func TestLocalSweep(t *testing.T) {
	dir := t.TempDir()
	keep := []string{".keep", "job/video.mp4", "other.partial"}
	for _, name := range append([]string{".DEAD1.partial", ".DEAD2.partial"}, keep...) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
	if got := files(t, dir); !slices.Equal(got, keep) {
		t.Errorf("after the sweep: %q, want %q", got, keep)
	}
}

// TestLocalSweepRace: processes that open the store while others put never remove a live one's partial file.
func TestLocalSweepRace(t *testing.T) {
	dir, source := t.TempDir(), write(t, strings.Repeat("x", 1<<16))
	store := open(t, dir)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			s, err := storage.NewLocal(dir)
			if err != nil {
				t.Error(err)
				return
			}
			s.Close() //nolint:errcheck // only the sweep matters
		}
	}()
	for n := 0; ; n++ {
		if _, err := store.Put(t.Context(), "job/video.mp4", source, "video/mp4"); err != nil {
			t.Errorf("put %d: %v", n, err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

// TestLocalKilled kills a process that puts without pause, at a different moment each time: the object is always
// whole, and the next start leaves nothing else behind.
func TestLocalKilled(t *testing.T) {
	if dir := os.Getenv("STORAGE_TEST_PUT_FOREVER"); dir != "" {
		putForever(t, dir)
		return
	}
	dir := t.TempDir()
	partials := 0
	for round := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLocalKilled$")
		cmd.Env = append(os.Environ(), "STORAGE_TEST_PUT_FOREVER="+dir, "TMPDIR="+t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); len(files(t, dir)) == 0; { // it has begun to put
			if time.Now().After(deadline) {
				t.Fatal("the child put nothing in 10 s")
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(round*7%12) * time.Millisecond)
		cmd.Process.Kill() //nolint:errcheck // Wait reports what happened
		cmd.Wait()         //nolint:errcheck // it was killed

		for _, name := range files(t, dir) {
			if strings.HasSuffix(name, ".partial") {
				partials++
			} else if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !whole(data) {
				t.Errorf("round %d: %s is not whole (%d bytes, error %v)", round, name, len(data), err)
			}
		}
		open(t, dir)
		for _, name := range files(t, dir) {
			if strings.HasSuffix(name, ".partial") {
				t.Errorf("round %d: %s is still there after the next start", round, name)
			}
		}
	}
	if partials == 0 {
		t.Error("no kill hit a put: the test proves nothing; make the file larger")
	}
}

func putForever(t *testing.T, dir string) {
	store := open(t, dir)
	sources := []string{write(t, strings.Repeat("a", 8<<20)), write(t, strings.Repeat("b", 8<<20))}
	for i := 0; ; i++ {
		if _, err := store.Put(t.Context(), "job/video.mp4", sources[i%2], "video/mp4"); err != nil {
			t.Fatal(err)
		}
	}
}

// whole reports whether data is one of putForever's files.
func whole(data []byte) bool {
	return len(data) == 8<<20 && strings.Count(string(data), string(data[:1])) == len(data)
}

func open(t *testing.T, dir string) *storage.Local {
	t.Helper()
	store, err := storage.NewLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() }) //nolint:errcheck // a folder handle
	return store
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// files lists the files below dir, sorted, slash-separated.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
