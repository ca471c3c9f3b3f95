package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// affine is y = x·w + b, all of them inputs.
func affine() *graph.Model {
	return new(toy).in("x", checkpoint.F32, 2, 3).in("w", checkpoint.F32, 3, 2).in("b", checkpoint.F32, 2).
		out("y", checkpoint.F32, 2, 2).op("MatMul", "x w", "xw", "").op("Add", "xw b", "y", "").build("affine")
}

func affineInputs(t *testing.T) map[string]*Tensor {
	return map[string]*Tensor{"x": floats(t, []int64{2, 3}, 1, 2, 3, 4, 5, 6),
		"w": floats(t, []int64{3, 2}, 1, 0, 0, 1, 1, 1), "b": floats(t, []int64{2}, 10, 20)}
}

var affineResult = []float32{14, 25, 20, 31}

func TestRun(t *testing.T) {
	rt := openRuntime(t, Config{})
	if !strings.HasPrefix(rt.Version(), "1.") {
		t.Errorf("Version() = %q", rt.Version())
	}
	for _, opts := range []SessionOptions{{}, {Threads: 2}, {ArenaOff: true}, {NoSpin: true, Threads: 2}, {FoldConstants: true},
		{Prepack: true}, {Optimization: OptimizeOff}, {Optimization: OptimizeMost}} {
		t.Run(fmt.Sprintf("%+v", opts), func(t *testing.T) {
			s := newSession(t, rt, affine(), opts)
			for range 2 {
				out, err := s.Run(t.Context(), affineInputs(t))
				if err != nil {
					t.Fatal(err)
				}
				equalFloats(t, out["y"], affineResult...)
				closeAll(t, out["y"])
			}
		})
	}
}

func TestProcessSettings(t *testing.T) {
	for _, cfg := range []Config{{Threads: 1}, {ArenaOff: true}, {NoSpin: true, LogLevel: "error"}} {
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) { // opens and unloads the library each time
			s := newSession(t, openRuntime(t, cfg), affine(), SessionOptions{})
			out, err := s.Run(t.Context(), affineInputs(t))
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, out["y"])
			equalFloats(t, out["y"], affineResult...)
		})
	}
}

func TestEveryType(t *testing.T) {
	rt := openRuntime(t, Config{})
	for dtype := range elementTypes {
		for _, shape := range [][]int64{{2, 3}, {}, {1}, {0, 3}} {
			m := new(toy).in("x", dtype, shape...).out("y", dtype, shape...).op("Identity", "x", "y", "").build("identity")
			t.Run(fmt.Sprintf("%s%v", dtype, shape), func(t *testing.T) {
				s, err := rt.NewSession(m, SessionOptions{})
				if err != nil {
					t.Fatal(err)
				}
				defer closeAll(t, s)
				n, err := byteSize(dtype, shape)
				if err != nil {
					t.Fatal(err)
				}
				data := make([]byte, n)
				for round := range 2 { // the tensor's memory is live: the second run sees what was written to it
					for i := range data {
						data[i] = byte(i+round) & 1
					}
					x := tensorOf(t)(NewTensor(dtype, shape, data))
					out, err := s.Run(t.Context(), map[string]*Tensor{"x": x})
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(data, out["y"].Bytes()); diff != "" {
						t.Error(diff)
					}
					if out["y"].DType() != dtype || !cmp.Equal(out["y"].Shape(), append([]int64{}, shape...)) {
						t.Errorf("got %s%v, want %s%v", out["y"].DType(), out["y"].Shape(), dtype, shape)
					}
					closeAll(t, out["y"])
				}
			})
		}
	}
}

func TestInputsThatDoNotFit(t *testing.T) {
	s := newSession(t, openRuntime(t, Config{}), affine(), SessionOptions{})
	in := affineInputs(t)
	in["x"] = floats(t, []int64{3, 2}, 1, 2, 3, 4, 5, 6)
	in["b"] = tensorOf(t)(NewTensor(checkpoint.F16, []int64{2}, make([]byte, 4)))
	delete(in, "w")
	in["weight"] = in["x"]
	out, err := s.Run(t.Context(), in)
	const want = `affine: inputs that do not fit: "x" wants F32[2 3], got F32[3 2]; "w" wants F32[3 2], got nothing; ` +
		`"b" wants F32[2], got F16[2]; "weight" is no input of the model`
	if err == nil || err.Error() != want || fault.CodeOf(err) != "onnxruntime_input" || out != nil {
		t.Errorf("err = %v\nwant  %s", err, want)
	}

	in = affineInputs(t)
	closeAll(t, in["x"])
	if _, err = s.Run(t.Context(), in); err == nil || !strings.Contains(err.Error(), `port "x": the tensor F32[2 3] is closed`) {
		t.Errorf("closed input: err = %v", err)
	}
}

func TestModelsThatAreRefused(t *testing.T) {
	rt := openRuntime(t, Config{})
	for _, c := range []struct {
		model *graph.Model
		want  string
	}{
		{&graph.Model{Name: "rubbish", Bytes: []byte("rubbish"), Inputs: affine().Inputs, Outputs: affine().Outputs}, "does not accept the model rubbish; "},
		{new(toy).in("x", checkpoint.F32, 2).out("y", checkpoint.F32, 2).op("Nonsense", "x", "y", "").build("op"), "Nonsense"},
		{new(toy).in("x", checkpoint.F32, 2).op("Relu", "x", "y", "").build("blind"), "1 inputs and 0 outputs"},
		{new(toy).out("y", checkpoint.F32, 2).op("Relu", "x", "y", "").build("deaf"), "0 inputs and 1 outputs"},
		{new(toy).in("x", checkpoint.F32, 2).in("x", checkpoint.F32, 2).out("y", checkpoint.F32, 2).build("twice"), `"x" is there twice`},
		{new(toy).in("x", checkpoint.F32, -1).out("y", checkpoint.F32, 2).build("dynamic"), "[-1] has a negative dimension"},
		{new(toy).in("x", checkpoint.Invalid, 1).out("y", checkpoint.F32, 2).build("typeless"), "the element type 0"},
	} {
		s, err := rt.NewSession(c.model, SessionOptions{})
		if err == nil || fault.CodeOf(err) != "onnxruntime_session" || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), c.model.Name+": ") {
			t.Errorf("%s: %v, %v; want %q", c.model.Name, s, err, c.want)
		}
	}
	// A port that the model does not have is found by the library.
	m := affine()
	m.Outputs[0].Name = "z"
	s := newSession(t, rt, m, SessionOptions{})
	if _, err := s.Run(t.Context(), affineInputs(t)); fault.CodeOf(err) != "onnxruntime_run" || !strings.Contains(err.Error(), "z") {
		t.Errorf("err = %v", err)
	}
}

func TestExternalData(t *testing.T) {
	rt := openRuntime(t, Config{})
	weights := bytesOf([]float32{1, 2, 3, 4})
	const offset = 4099 // neither aligned to pages nor to elements
	file := weightFile(t, offset, weights)
	model := func(file string, offset int64) *graph.Model {
		return new(toy).in("x", checkpoint.F32, 2, 2).out("y", checkpoint.F32, 2, 2).op("MatMul", "x w", "y", "").
			external("w", checkpoint.F32, file, offset, 16, 2, 2).build("external")
	}
	x := floats(t, []int64{2, 2}, 1, 0, 0, 1)
	// A checkpoint is often a symbolic link into a store elsewhere; the path is resolved when the checkpoint is read.
	link := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	resolved, err := filepath.EvalSymlinks(link)
	if err != nil {
		t.Fatal(err)
	}
	for _, opts := range []SessionOptions{{}, {FoldConstants: true, Prepack: true}} {
		out, err := newSession(t, rt, model(resolved, offset), opts).Run(t.Context(), map[string]*Tensor{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		equalFloats(t, out["y"], 1, 2, 3, 4)
		closeAll(t, out["y"])
	}

	for _, c := range []struct {
		name, want string
		model      *graph.Model
	}{
		{"truncated", "w offset: 4103 size to read: 16 given file_length: 4115", model(file, offset+4)},
		{"beyond the end", "w offset: 1048576 size to read: 16 given file_length: 4115", model(file, 1<<20)},
		{"missing", "weights.binx", model(file+"x", 0)},
	} {
		_, err := rt.NewSession(c.model, SessionOptions{})
		if fault.CodeOf(err) != "onnxruntime_session" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: err = %v", c.name, err)
		}
	}
}

func TestBoundWeights(t *testing.T) {
	rt := openRuntime(t, Config{})
	bf16 := []byte{0x80, 0x3f, 0x00, 0x40, 0x40, 0x40, 0x80, 0x40} // 1 2 3 4
	file := weightFile(t, 131, bf16)
	w := &checkpoint.Tensor{Name: "w", DType: checkpoint.BF16, Shape: []int64{4}, Stride: []int64{1}, File: file, Offset: 131}
	m := new(toy).in("x", checkpoint.F32, 2, 2).bind("w", w, 2, 2).out("y", checkpoint.F32, 2, 2).
		op("Cast", "w", "w32", "to=1").op("MatMul", "x w32", "y", "").build("bound")
	s := newSession(t, rt, m, SessionOptions{})
	weight := tensorOf(t)(MapWeight(m.Bound[0]))
	out, err := s.Run(t.Context(), map[string]*Tensor{"x": floats(t, []int64{2, 2}, 2, 0, 0, 2), "w": weight})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, out["y"])
	equalFloats(t, out["y"], 2, 4, 6, 8)
}

func TestManyGoroutines(t *testing.T) {
	rt := openRuntime(t, Config{})
	shared := newSession(t, rt, affine(), SessionOptions{})
	in := affineInputs(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			own, err := rt.NewSession(affine(), SessionOptions{Threads: 1})
			if err != nil {
				t.Error(err)
				return
			}
			defer closeAll(t, own)
			for i := range 40 {
				s := own
				if i%2 == 0 {
					s = shared
				}
				out, err := s.Run(t.Context(), in)
				if err != nil {
					t.Error(err)
					return
				}
				equalFloats(t, out["y"], affineResult...)
				closeAll(t, out["y"])
			}
		})
	}
	wg.Wait()
}

func TestClosing(t *testing.T) {
	rt := openRuntime(t, Config{})
	if _, err := Open(Config{}, rt.log); fault.CodeOf(err) != "onnxruntime_open" {
		t.Errorf("second Open: %v", err)
	}
	s := newSession(t, rt, affine(), SessionOptions{})
	if err := rt.Close(); err == nil || !strings.Contains(err.Error(), "1 sessions are still open") {
		t.Errorf("Close with an open session: %v", err)
	}
	closeAll(t, s, s)
	if _, err := s.Run(t.Context(), affineInputs(t)); fault.CodeOf(err) != "onnxruntime_run" {
		t.Errorf("Run of a closed session: %v", err)
	}
	closeAll(t, rt, rt)
	if _, err := rt.NewSession(affine(), SessionOptions{}); fault.CodeOf(err) != "onnxruntime_session" {
		t.Errorf("NewSession on a closed Runtime: %v", err)
	}
	if err := rt.FreshArena(); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Run with an ended context: %v", err)
	}
}
