package ort

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

func modelFile(t *testing.T, m *graph.Model) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, m.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// open is a dimension without a size.
const open = -1

// A file is loaded as an exporter leaves it: open batch, and what it holds comes out as ports with fixed sizes.
func TestLoadModel(t *testing.T) {
	rt := openRuntime(t, Config{})
	path := modelFile(t, new(toy).in("input", checkpoint.F32, open, 2, 3).in("scale", checkpoint.F32, 3).
		out("output", checkpoint.F32, open, 2, 3).op("Mul", "input scale", "output", "").build("exported"))
	m, err := LoadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	wantIn := []graph.Port{{Name: "input", DType: checkpoint.F32, Shape: []int64{1, 2, 3}}, {Name: "scale", DType: checkpoint.F32, Shape: []int64{3}}}
	wantOut := []graph.Port{{Name: "output", DType: checkpoint.F32, Shape: []int64{1, 2, 3}}}
	if d := cmp.Diff(wantIn, m.Inputs) + cmp.Diff(wantOut, m.Outputs); d != "" {
		t.Fatal(d)
	}
	out, err := newSession(t, rt, m, SessionOptions{}).Run(t.Context(), map[string]*Tensor{
		"input": floats(t, []int64{1, 2, 3}, 1, 2, 3, 4, 5, 6), "scale": floats(t, []int64{3}, 1, 10, 100)})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, out["output"])
	equalFloats(t, out["output"], 1, 20, 300, 4, 50, 600)
}

// Files of IR versions below 4 list their weights among the inputs.
func TestLoadModelSkipsInitializers(t *testing.T) {
	build := new(toy).in("x", checkpoint.F32, 2).in("w", checkpoint.F32, 2).out("y", checkpoint.F32, 2).op("Add", "x w", "y", "")
	weight := text(varint(varint(nil, 1, 2), 2, 1), 8, "w")
	build.weights = bytesField(build.weights, 5, bytesField(weight, 9, bytesOf([]float32{5, 7})))
	m, err := LoadModel(modelFile(t, build.build("old")))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Inputs) != 1 || m.Inputs[0].Name != "x" {
		t.Errorf("inputs %v", m.Inputs)
	}
	out, err := newSession(t, openRuntime(t, Config{}), m, SessionOptions{}).Run(t.Context(), map[string]*Tensor{"x": floats(t, []int64{2}, 1, 2)})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, out["y"])
	equalFloats(t, out["y"], 6, 9)
}

func TestLoadModelRefuses(t *testing.T) {
	whole := affine().Bytes
	for name, c := range map[string]struct {
		bytes []byte
		want  string
	}{
		"empty":           {nil, "0 inputs and 0 outputs"},
		"a page":          {[]byte("<!DOCTYPE html><html>not found</html>"), ""},
		"cut":             {whole[:len(whole)/2], ""},
		"open size":       {new(toy).in("x", checkpoint.F32, open, 4, open).out("y", checkpoint.F32, 1).op("Relu", "x", "y", "").build("m").Bytes, `dimension 2 of its port "x" is open`},
		"no output":       {new(toy).in("x", checkpoint.F32, 2).op("Relu", "x", "y", "").build("m").Bytes, "1 inputs and 0 outputs"},
		"unknown type":    {new(toy).in("x", checkpoint.Invalid, 2).out("y", checkpoint.F32, 2).op("Relu", "x", "y", "").build("m").Bytes, `port "x" is no tensor`},
		"outside weights": {new(toy).in("x", checkpoint.F32, 2).out("y", checkpoint.F32, 2).op("Add", "x w", "y", "").external("w", checkpoint.F32, "/etc/passwd", 0, 8, 2).build("m").Bytes, "weights in other files"},
	} {
		path := modelFile(t, &graph.Model{Bytes: c.bytes})
		m, err := LoadModel(path)
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != "bad_weights" || f.Field != path || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", name, m, err, c.want)
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "nowhere.onnx"), t.TempDir()} {
		if _, err := LoadModel(path); fault.CodeOf(err) != "bad_weights" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestOpenDimensions(t *testing.T) {
	for name, dim := range map[string][]byte{"named": text(nil, 2, "n"), "empty": nil, "-1": varint(nil, 1, ^uint64(0)), "0": varint(nil, 1, 0)} {
		if size, err := readDim(dim); size != 0 || err != nil {
			t.Errorf("%s: %d, %v", name, size, err)
		}
	}
}

// FuzzLoadModel: whatever the bytes, there is a model or a fault.
func FuzzLoadModel(f *testing.F) {
	f.Add(affine().Bytes)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &graph.Model{Bytes: data}
		if err := readPorts(m); err == nil && (len(m.Inputs) == 0 || len(m.Outputs) == 0) {
			t.Error("a model without ports")
		}
	})
}
