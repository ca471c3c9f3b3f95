package checkpoint

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const golden = "../../testdata/golden/dev"

// goldenCase is the part of cases/index.json that torch_files needs.
type goldenCase struct {
	File   string
	Config struct {
		Files []string
		Other map[string]map[string]any
	}
	Tensors map[string][2]any
}

func torchFiles(t testing.TB) goldenCase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(golden, "cases/index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Cases []json.RawMessage } // the configurations of other cases have other types
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	for _, raw := range index.Cases {
		var name struct{ Name string }
		var c goldenCase
		if json.Unmarshal(raw, &name) != nil || name.Name != "torch_files" {
			continue
		}
		if err := json.Unmarshal(raw, &c); err != nil || len(c.Config.Files) == 0 {
			t.Fatalf("the case torch_files names no files (%v)", err)
		}
		return c
	}
	t.Fatal("the golden set has no case torch_files")
	panic("unreachable")
}

// The values of every tensor and leaf in the golden torch files are those that torch itself loads.
func TestGoldenTorchFiles(t *testing.T) {
	c := torchFiles(t)
	want, err := Open(filepath.Join(golden, "cases", c.File))
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Tensors) != len(c.Tensors) {
		t.Errorf("%d tensors in the case, %d in its index", len(want.Tensors), len(c.Tensors))
	}
	seen := 0
	for _, file := range c.Config.Files {
		ix, err := Open(filepath.Join(golden, "cases/torch", file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		found := 0
		for _, full := range want.Names() {
			of, name, _ := strings.Cut(strings.TrimPrefix(full, "out."), "/")
			if of != file {
				continue
			}
			got := ix.Lookup(name) // nested.pth wraps its tensors in "state_dict"; the case leaves that out
			if got == nil {
				t.Errorf("%s: no tensor %q among %q", file, name, ix.Names())
				continue
			}
			found++
			sameTensor(t, full, got, want.Tensors[full])
			if listed := c.Tensors[full][0]; listed != got.DType.String() {
				t.Errorf("%s: dtype %s, want %s", full, got.DType, listed)
			}
		}
		if found != len(ix.Tensors) {
			t.Errorf("%s holds %d tensors, the case expects %d", file, len(ix.Tensors), found)
		}
		seen += found
		if diff := cmp.Diff(c.Config.Other[file], asJSON(t, ix.Other)); diff != "" {
			t.Errorf("%s: other leaves (-want +got)\n%s", file, diff)
		}
	}
	if seen != len(c.Tensors) {
		t.Errorf("found %d of %d tensors", seen, len(c.Tensors))
	}
}

func sameTensor(t *testing.T, name string, got, want *Tensor) {
	t.Helper()
	if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
		t.Errorf("%s is %s%v, want %s%v", name, got.DType, got.Shape, want.DType, want.Shape)
		return
	}
	g, err := got.Raw()
	if err != nil {
		t.Error(err)
		return
	}
	w, err := want.Raw()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g, w) {
		t.Errorf("%s has other bytes than expected:\n%x\n%x", name, g, w)
	}
}

// asJSON turns leaves into what encoding/json would read; nil for none, like a map without the key.
func asJSON(t *testing.T, leaves map[string]any) map[string]any {
	t.Helper()
	if len(leaves) == 0 {
		return nil
	}
	b, err := json.Marshal(leaves)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Every checkpoint of the golden weights opens, every tensor in it can be read, and nothing else opens.
func TestGoldenWeights(t *testing.T) {
	var paths []string
	err := filepath.WalkDir(filepath.Join(golden, "weights"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	opened := map[string]int{}
	for _, path := range paths {
		isCheckpoint := slices.Contains([]string{".pth", ".pt", ".safetensors"}, filepath.Ext(path)) ||
			strings.HasSuffix(path, ".safetensors.index.json")
		ix, err := Open(path)
		if isCheckpoint != (err == nil) {
			t.Errorf("%s: is a checkpoint: %v, opening it: %v", path, isCheckpoint, err)
		}
		if err != nil {
			continue
		}
		opened[filepath.Base(path)] = len(ix.Tensors)
		if len(ix.Other) > 0 {
			t.Errorf("%s: leaves that are no tensors: %v", path, ix.Other)
		}
		for _, name := range ix.Names() {
			checkValues(t, ix.Tensors[name])
		}
	}
	want := map[string]int{"Wan2.1_VAE.pth": 194, "zero_vae_129frame.pt": 1, "zero_vae_720p_161frame.pt": 1}
	for name, n := range want {
		if opened[name] != n {
			t.Errorf("%s: %d tensors, want %d", name, opened[name], n)
		}
	}
	shards := opened["humo-00001-of-00003.safetensors"] + opened["humo-00002-of-00003.safetensors"] + opened["humo-00003-of-00003.safetensors"]
	if n := opened["humo.safetensors.index.json"]; n == 0 || n != shards {
		t.Errorf("the index lists %d tensors, its shards hold %d", n, shards)
	}
}

// checkValues reads a tensor of random weights. They are of the order of 1; a wrong offset or dtype gives wild ones.
func checkValues(t *testing.T, x *Tensor) {
	t.Helper()
	values, err := x.Float32()
	if err != nil || int64(len(values)) != x.Elements() {
		t.Errorf("%s: %d values, %v", x, len(values), err)
	}
	for _, v := range values {
		if !(v > -1e3 && v < 1e3) {
			t.Errorf("%s holds %g", x, v)
			return
		}
	}
}

// The golden 161-frame zero VAE is a strided view with an offset, so it must not look contiguous.
func TestGoldenView(t *testing.T) {
	ix, err := Open(filepath.Join(golden, "weights/HuMo/zero_vae_720p_161frame.pt"))
	if err != nil {
		t.Fatal(err)
	}
	v := ix.Tensors[""]
	if v == nil || v.Contiguous() {
		t.Fatalf("want a view under the empty name, have %v", ix.Tensors)
	}
}

// Pickles that CPython wrote at protocols 3 to 5, in both layouts (testdata/protocols.py).
func TestProtocols(t *testing.T) {
	for _, name := range []string{"protocol3.pth", "protocol4.pth", "protocol5.pth", "legacy4.pth"} {
		ix, err := Open(filepath.Join("testdata", name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		values := map[string][]float32{}
		for _, n := range ix.Names() {
			if values[n], err = ix.Tensors[n].Float32(); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff(map[string][]float32{
			"state.a.weight": {1, 2, 3, 4, 5, 6}, "state.a.turned": {1, 4, 2, 5, 3, 6}, "state.b.bias": {8},
		}, values); diff != "" {
			t.Errorf("%s: tensors (-want +got)\n%s", name, diff)
		}
		if diff := cmp.Diff(map[string]any{
			"step": float64(1 << 40), "seed": float64(1 << 64), "rate": 0.5, "tags": []any{"x", []any{"é", nil, true}},
			"groups": []any{map[string]any{"ids": []any{0.0, 1.0}}}, "state2.0": -3.0,
		}, asJSON(t, ix.Other)); diff != "" {
			t.Errorf("%s: leaves (-want +got)\n%s", name, diff)
		}
	}
}
