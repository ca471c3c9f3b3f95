package textcache

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

// odd holds the numbers that a careless copy changes: a negative zero, a subnormal and a NaN with a payload.
func odd() *Embedding {
	return &Embedding{2, 3, []float32{math.Float32frombits(1 << 31), math.Float32frombits(1), math.Float32frombits(0x7fc00123), 1, -2.5, 1e30}}
}

func bits(e *Embedding) []uint32 {
	if e == nil {
		return nil
	}
	b := []uint32{uint32(e.Rows), uint32(e.Dim)}
	for _, v := range e.Data {
		b = append(b, math.Float32bits(v))
	}
	return b
}

func open(dir string, megabytes int) *Cache {
	return Open(Config{Folder: dir, Megabytes: megabytes}, zerolog.Nop())
}

// What comes back is what was put in, to the bit, from memory and after a restart; files are for their owner alone.
func TestGivesBackTheSameBits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	key := Key{1}
	first := open(dir, 1)
	if first.Get(key) != nil {
		t.Error("an empty cache has it")
	}
	first.Put(key, odd())
	for name, c := range map[string]*Cache{"memory": first, "restarted": open(dir, 1)} {
		if diff := cmp.Diff(bits(odd()), bits(c.Get(key))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if c.Get(Key{2}) != nil {
			t.Errorf("%s: another key is answered", name)
		}
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, first.folder.path(key): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %o", path, info, err, want)
		}
	}
}

// A file that is not exactly what was written counts as absent, and the next one takes its place.
func TestDamagedFilesAreIgnored(t *testing.T) {
	key := Key{7}
	whole, err := encode(key, odd())
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string]func(path string) error{
		"empty":       func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"cut short":   func(p string) error { return os.WriteFile(p, whole[:len(whole)-1], 0o600) },
		"longer":      func(p string) error { return os.WriteFile(p, append(slices.Clone(whole), 0), 0o600) },
		"another key": func(p string) error { b, _ := encode(Key{8}, odd()); return os.WriteFile(p, b, 0o600) },
		"a folder":    func(p string) error { return os.Mkdir(p, 0o700) },
		"a link":      func(p string) error { return os.Symlink("/dev/zero", p) },
	}
	for i := range whole {
		damage[fmt.Sprintf("byte %d", i)] = func(p string) error {
			b := slices.Clone(whole)
			b[i] ^= 0x10
			return os.WriteFile(p, b, 0o600)
		}
	}
	for name, make := range damage {
		c := open(t.TempDir(), 1)
		if err := make(c.folder.path(key)); err != nil {
			t.Fatal(err)
		}
		if c.Get(key) != nil {
			t.Errorf("%s: it is used", name)
		}
		c.Put(key, odd())
		if c.Get(key) == nil {
			t.Errorf("%s: nothing is cached afterwards", name)
		}
	}
}

// The folder stays within its bound and loses what was not used for the longest time; files of others stay.
func TestFolderStaysWithinItsBound(t *testing.T) {
	dir := t.TempDir()
	c := open(dir, 1)
	foreign := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(foreign, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	const each = 60_000 // 240 kB: four fit
	at := time.Now().Add(-time.Hour)
	for i := range 8 {
		c.Put(Key{byte(i)}, &Embedding{1, each, make([]float32, each)})
		if err := os.Chtimes(c.folder.path(Key{byte(i)}), at, at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
		if i >= 2 && open(dir, 1).Get(Key{2}) == nil { // used all the time
			t.Errorf("after %d files, the one in use is gone", i+1)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil || len(files) > 4 {
			t.Errorf("%d files, %v", len(files), err)
		}
	}
	again := open(dir, 1)
	if again.Get(Key{7}) == nil || again.Get(Key{0}) != nil {
		t.Error("not the oldest files were dropped")
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
}

// Memory is bounded too, by bytes, and what is used stays.
func TestMemoryStaysWithinItsBound(t *testing.T) {
	c := open("none", 1)
	c.limit = 40
	for i := range 10 {
		c.Put(Key{byte(i)}, &Embedding{1, 3, make([]float32, 3)})
		if c.Get(Key{0}) == nil {
			t.Errorf("after %d, the one in use is gone", i+1)
		}
	}
	if c.held > c.limit || len(c.entries) != 3 || c.recent.Len() != 3 {
		t.Errorf("%d bytes in %d entries", c.held, len(c.entries))
	}
	if c.Get(Key{9}) == nil || c.Get(Key{8}) == nil || c.Get(Key{1}) != nil {
		t.Error("not the least recently used were dropped")
	}
	c.Put(Key{20}, &Embedding{1, 11, make([]float32, 11)})
	if len(c.entries) != 3 {
		t.Error("an embedding larger than the bound drove out others")
	}
}

// A folder that cannot be written is no failure.
func TestUnusableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(filepath.Join(file, "below"), 1)
	c.Put(Key{1}, odd())
	if c.Get(Key{1}) == nil {
		t.Error("memory does not hold it")
	}
	if (Config{Folder: file, Megabytes: 1}).Validate() == nil {
		t.Error("a file is accepted as the folder")
	}
}
