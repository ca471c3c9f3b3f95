package pull

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var tenBlocks = heading{"a/b", "c0", "x", facts{Size: 95, SHA256: "ab"}, 10}

func opened(t *testing.T, name string, h heading) *journal {
	t.Helper()
	j, err := openJournal(name, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.close() })
	return j
}

func TestJournal(t *testing.T) {
	name := filepath.Join(t.TempDir(), "parts")
	j := opened(t, name, tenBlocks)
	if d := cmp.Diff([]span{{0, 4}, {4, 8}, {8, 10}}, j.missing(4), cmp.AllowUnexported(span{})); d != "" {
		t.Error(d)
	}
	for _, block := range []int{3, 9, 0} {
		if err := j.note(block, int64(block)<<28|7); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.takeBack(0); err != nil {
		t.Fatal(err)
	}
	for _, j := range []*journal{j, opened(t, name, tenBlocks)} {
		if d := cmp.Diff([]span{{0, 3}, {4, 9}}, j.missing(100), cmp.AllowUnexported(span{})); d != "" || j.arrived() != 15 || j.sums[9] != 9<<28|7 {
			t.Errorf("%d bytes, %s", j.arrived(), d)
		}
	}

	// What a kill or a power cut leaves of lines counts for nothing, and spoils no later line.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("12 0000000a\n-1 0000000a\nnoise\n\x00\x00\x00\n5"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	j = opened(t, name, tenBlocks)
	if err := j.note(6, 1); err != nil || j.arrived() != 25 {
		t.Errorf("%d bytes, %v", j.arrived(), err)
	}
	if j = opened(t, name, tenBlocks); j.arrived() != 25 {
		t.Errorf("%d bytes", j.arrived())
	}
	if err := j.reset(); err != nil || j.arrived() != 0 || opened(t, name, tenBlocks).arrived() != 0 {
		t.Errorf("%d bytes after reset, %v", j.arrived(), err)
	}
}

// TestJournalOfAnotherFile: another revision, size, digest or block begins anew.
func TestJournalOfAnotherFile(t *testing.T) {
	for name, change := range map[string]func(*heading){
		"revision": func(h *heading) { h.Revision = "c1" },
		"digest":   func(h *heading) { h.Facts.SHA256 = "cd" },
		"size":     func(h *heading) { h.Facts.Size = 96 },
		"block":    func(h *heading) { h.Block = 5 },
	} {
		file := filepath.Join(t.TempDir(), "parts")
		if err := opened(t, file, tenBlocks).note(1, 1); err != nil {
			t.Fatal(err)
		}
		other := tenBlocks
		change(&other)
		if got := opened(t, file, other).arrived(); got != 0 {
			t.Errorf("%s: %d bytes have arrived", name, got)
		}
	}
}

func TestJournalCompares(t *testing.T) {
	data := []byte("0123456789abcdefghij01234")
	h := heading{Facts: facts{Size: 25}, Block: 10}
	j := opened(t, filepath.Join(t.TempDir(), "parts"), h)
	for i := range 3 {
		if err := j.note(i, checksum(data[i*10:min(i*10+10, 25)])); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := j.compare(bytes.NewReader(data)); n != 0 || err != nil || j.arrived() != 25 {
		t.Errorf("%d damaged, %v", n, err)
	}
	if n, err := j.compare(bytes.NewReader(data[:24])); n != 1 || err != nil || j.arrived() != 20 { // cut short
		t.Errorf("%d damaged, %v", n, err)
	}
	data[0] ^= 1
	if n, err := j.compare(bytes.NewReader(data)); n != 1 || err != nil || j.arrived() != 10 {
		t.Errorf("%d damaged, %v", n, err)
	}
}
