package inference

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIdentify(t *testing.T) {
	e := openEngine(t)
	for _, variant := range []Variant{Variant1B, Variant17B} {
		id, err := e.Identify(t.Context(), variant)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, w := range id.Weights {
			paths = append(paths, w.Path)
			if info, err := os.Stat(filepath.Join(goldenWeights, w.Path)); err != nil || info.Size() != w.Bytes || len(w.Fingerprint) != 32 {
				t.Errorf("%+v: %v", w, err)
			}
		}
		if variant == Variant1B && !slices.Contains(paths, "HuMo/HuMo-1.7B/ema.pth") ||
			variant == Variant17B && !slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(p, "HuMo/HuMo-17B/humo-") }) {
			t.Errorf("%s: the transformer's files are not among %q", variant, paths)
		}
		if id.ONNXRuntime == "" || id.Machine.Device == "" || id.Machine.Cores < 1 {
			t.Errorf("%+v", id)
		}
	}
}

// A fingerprint changes with the size and with whatever lies in the blocks that are read; a small file is read whole.
func TestFingerprint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	print := func(data []byte) string {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Fingerprint(path)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, size := range []int{0, 1000, printBlocks * printBlock, printBlocks*printBlock + 1, 3_000_000} {
		data := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		seen := map[string]int{print(data): -1}
		for _, at := range []int{0, size - 1, size / 2} {
			if at < 0 || at >= size || at == size/2 && size > printBlocks*printBlock {
				continue
			}
			changed := bytes.Clone(data)
			changed[at] ^= 1
			p := print(changed)
			if other, twice := seen[p]; twice {
				t.Errorf("%d bytes: a change at %d has the fingerprint of %d", size, at, other)
			}
			seen[p] = at
		}
		if _, same := seen[print(append(data, 0))]; same {
			t.Errorf("%d bytes: one more has the same fingerprint", size)
		}
	}
}

// Files are looked into again when they have changed, and only then.
func TestFingerprintsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var prints fingerprints
	look := func() string {
		t.Helper()
		w, err := prints.of(path)
		if err != nil {
			t.Fatal(err)
		}
		return w.Fingerprint
	}
	write := func(text string, when time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Unix(1_000_000, 0)
	write("one", then)
	first := look()
	write("two", then) // as if unchanged
	if look() != first {
		t.Error("the file was looked into twice")
	}
	write("two", then.Add(time.Second))
	if look() == first {
		t.Error("a changed file keeps its fingerprint")
	}
}
