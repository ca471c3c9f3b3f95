// Package goldentest gives tests the cases of the development set.
package goldentest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden"
)

// Dir is the development set's folder, found from the folder that the test runs in.
func Dir(t testing.TB) string {
	t.Helper()
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata", "golden", "dev")
		}
		if len(dir) > 100 {
			t.Fatal("no go.mod above the test's folder")
		}
	}
}

// Case is a golden case whose readers end the test where the case cannot be read.
type Case struct{ *golden.Case }

// Open reads a case and its tensors.
func Open(t testing.TB, name string) Case {
	t.Helper()
	s, err := golden.Open(Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Cases {
		if c.Name != name {
			continue
		}
		if err := c.Load(); err != nil {
			t.Fatal(err)
		}
		return Case{c}
	}
	t.Fatalf("no golden case %q", name)
	return Case{}
}

// File is the path of a file of the development set's cases.
func File(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(Dir(t), "cases", filepath.FromSlash(name))
}

// Config decodes the case's settings, all of them.
func (c Case) Config(t testing.TB, dst any) {
	t.Helper()
	if err := c.Case.Config(dst); err != nil {
		t.Fatal(err)
	}
}

// Setting decodes one of the case's settings.
func (c Case) Setting(t testing.TB, key string, dst any) {
	t.Helper()
	var all map[string]json.RawMessage
	c.Config(t, &all)
	if err := json.Unmarshal(all[key], dst); err != nil {
		t.Fatalf("config.%s: %v", key, err)
	}
}

// Floats reads a tensor.
func (c Case) Floats(t testing.TB, name string) []float32 {
	t.Helper()
	data, _, err := c.Case.Floats(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Ints reads a tensor of small whole numbers.
func (c Case) Ints(t testing.TB, name string) []int64 {
	t.Helper()
	var out []int64
	for _, v := range c.Floats(t, name) {
		out = append(out, int64(v))
	}
	return out
}

// Bytes reads the bytes of a tensor.
func (c Case) Bytes(t testing.TB, name string) []byte {
	t.Helper()
	v, err := c.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := v.Raw()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Shape is a tensor's shape.
func (c Case) Shape(t testing.TB, name string) []int64 {
	t.Helper()
	v, err := c.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	return v.Shape
}

// Bound is how far the largest difference from a tensor may be.
func (c Case) Bound(t testing.TB, name string) float64 {
	t.Helper()
	b, err := c.Case.Bound(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Near fails the test if got is not the named tensor within its bound.
func (c Case) Near(t testing.TB, name string, got []float32) {
	t.Helper()
	d := c.Compare(name, golden.Floats(got, c.Shape(t, name)...))
	if d.Err != nil {
		t.Errorf("%s: %v", name, d.Err)
		return
	}
	t.Logf("%s: largest difference %.2g, bound %s", name, d.MaxAbs, d.Bound)
}
