package graph_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/ort/orttest"
)

var runtime *ort.Runtime

func TestMain(m *testing.M) { orttest.Main(m, &runtime) }

const (
	f32  = checkpoint.F32
	f16  = checkpoint.F16
	bf16 = checkpoint.BF16
)

// halves encodes numbers that both 16-bit types hold exactly.
func halves(dtype checkpoint.DType, numbers ...float32) []byte {
	var raw []byte
	for _, x := range numbers {
		bits := uint16(math.Float32bits(x) >> 16)
		if dtype == f16 && x != 0 {
			b := math.Float32bits(x)
			bits = uint16(b>>16)&0x8000 | uint16(b>>23&0xff-127+15)<<10 | uint16(b>>13)&0x3ff
		}
		raw = binary.LittleEndian.AppendUint16(raw, bits)
	}
	return raw
}

func tensor(t *testing.T, dtype checkpoint.DType, shape []int64, data []byte) *ort.Tensor {
	t.Helper()
	x, err := ort.NewTensor(dtype, shape, data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func floats(t *testing.T, numbers ...float32) *ort.Tensor {
	t.Helper()
	x, err := ort.FromFloat32s([]int64{int64(len(numbers))}, numbers)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// run builds define for the emulation of dtype and runs it as chains do: with every optimization that ONNX Runtime has.
func run(t *testing.T, dtype checkpoint.DType, in map[string]*ort.Tensor, define func(g *graph.Graph)) map[string]*ort.Tensor {
	t.Helper()
	m, err := graph.Build("test", graph.Options{Weights: graph.Bound, Compute: dtype, Emulate: true}, define)
	if err != nil {
		t.Fatal(err)
	}
	s, err := runtime.NewSession(m, ort.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	out, err := s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEmulationRounds: what 16 bits do not hold is lost wherever a kernel would lose it, and kept where the graph is float32.
func TestEmulationRounds(t *testing.T) {
	for dtype, digits := range map[checkpoint.DType]int{f16: 11, bf16: 8} {
		small := float32(math.Ldexp(1, -digits-1)) // 1 + small is 1 in this type
		for _, test := range []struct {
			name string
			make func(g *graph.Graph, one, small graph.Value) graph.Value // float32 [1]
			want float32
		}{
			{"a sum in float32", func(g *graph.Graph, one, small graph.Value) graph.Value {
				return g.Sub(g.Add(one, small), one)
			}, small},
			{"a sum in 16 bits", func(g *graph.Graph, one, small graph.Value) graph.Value {
				one, small = g.ToCompute(one), g.ToCompute(small)
				return g.ToFloat32(g.Sub(g.Add(one, small), one))
			}, 0},
			{"a conversion there and back", func(g *graph.Graph, one, small graph.Value) graph.Value {
				return g.Sub(g.ToFloat32(g.ToCompute(g.Add(one, small))), one)
			}, 0},
			{"a sum, moved about", func(g *graph.Graph, one, small graph.Value) graph.Value {
				one, small = g.ToCompute(one), g.ToCompute(small)
				sum := g.Transpose(g.Reshape(g.Concat(0, g.Add(one, small), one), 1, 2), 1, 0)
				return g.ToFloat32(g.Sub(g.Reshape(g.Slice(sum, 0, 0, 1), 1), one))
			}, 0},
			{"a product of matrices adds up in float32", func(g *graph.Graph, one, small graph.Value) graph.Value {
				row := g.ToCompute(g.Reshape(g.Concat(0, one, small, small, small, small), 1, 5))
				y := g.Linear(row, g.ToCompute(g.Float32s([]int64{1, 5}, 1, 1, 1, 1, 1)), graph.Value{})
				return g.Sub(g.ToFloat32(g.Reshape(y, 1)), one)
			}, 4 * small},
			{"a bias", func(g *graph.Graph, one, small graph.Value) graph.Value {
				row := g.ToCompute(g.Reshape(one, 1, 1))
				y := g.Linear(row, row, g.ToCompute(small))
				return g.Sub(g.ToFloat32(g.Reshape(y, 1)), one)
			}, 0},
			{"a constant", func(g *graph.Graph, one, _ graph.Value) graph.Value {
				return g.Sub(g.ToFloat32(g.Mul(g.ToCompute(one), g.ScalarLike(g.ToCompute(one), 1+small))), one)
			}, 0},
		} {
			out := run(t, dtype, map[string]*ort.Tensor{"one": floats(t, 1), "small": floats(t, small)}, func(g *graph.Graph) {
				g.Output("y", test.make(g, g.Input("one", f32, 1), g.Input("small", f32, 1)))
			})
			if got := out["y"].Float32s()[0]; got != test.want {
				t.Errorf("%s, %s: %g, want %g", dtype, test.name, got, test.want)
			}
		}
	}
}

// TestEmulationKeepsPorts: whoever binds a model does not see whether it is emulated; 16-bit values come and go in 16 bits.
func TestEmulationKeepsPorts(t *testing.T) {
	for _, dtype := range []checkpoint.DType{f16, bf16} {
		weight := graph.Weight{Tensor: &checkpoint.Tensor{Name: "w", DType: f32, Shape: []int64{2}, Stride: []int64{1}}}
		table := graph.Weight{Tensor: &checkpoint.Tensor{Name: "table", DType: dtype, Shape: []int64{3, 2}, Stride: []int64{2, 1}}}
		define := func(g *graph.Graph) {
			x, ids := g.Input("x", dtype, 2), g.Input("ids", checkpoint.I64, 1)
			sum := g.Add(x, g.WeightIn(dtype, weight))
			g.Output("sum", sum)
			g.Output("again", sum)
			g.Output("wide", g.ToFloat32(sum))
			g.Output("moved", g.Reshape(sum, 2, 1))
			g.Output("same", x)
			g.Output("rows", g.Gather(g.StoredWeight(table), ids))
			g.Output("truth", g.Cast(sum, checkpoint.Bool))
		}
		var models [2]*graph.Model
		for i, emulate := range []bool{false, true} {
			var err error
			models[i], err = graph.Build("test", graph.Options{Weights: graph.Converted, Compute: dtype, Emulate: emulate}, define)
			if err != nil {
				t.Fatal(err)
			}
		}
		real, emulated := models[0], models[1]
		if diff := cmp.Diff(real, emulated, cmpopts.IgnoreFields(graph.Model{}, "Bytes", "Nodes", "Inline")); diff != "" {
			t.Errorf("%s: emulation changes ports: %s", dtype, diff)
		}
		if p := emulated.Bound[0]; p.Port.DType != dtype || p.Tensor.DType != f32 {
			t.Errorf("%s: a converted weight is bound as %s, stored as %s", dtype, p.Port.DType, p.Tensor.DType)
		}
		for _, n := range emulated.Nodes {
			for _, v := range slices.Concat(n.In, n.Out) {
				if graph.Half(v.DType) && n.Op != "Cast" && n.Op != "Gather" {
					t.Errorf("%s: a 16-bit kernel is left: %s of %v", dtype, n.Op, v)
				}
			}
		}
		s, err := runtime.NewSession(emulated, ort.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ids, err := ort.FromInt64s([]int64{1}, []int64{2})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(t.Context(), map[string]*ort.Tensor{
			"x": tensor(t, dtype, []int64{2}, halves(dtype, 1, -2)), "ids": ids,
			emulated.Bound[0].Port.Name: tensor(t, dtype, []int64{2}, halves(dtype, 0.5, 4)),
			emulated.Bound[1].Port.Name: tensor(t, dtype, []int64{3, 2}, halves(dtype, 1, 2, 3, 4, 5, 6)),
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := halves(dtype, 1.5, 2)
		for name, want := range map[string][]byte{"sum": sum, "again": sum, "moved": sum, "same": halves(dtype, 1, -2),
			"rows": halves(dtype, 5, 6), "truth": {1, 1}} {
			if got := out[name].Bytes(); !slices.Equal(got, want) {
				t.Errorf("%s: %s is %x, want %x", dtype, name, got, want)
			}
		}
		if got := out["wide"].Float32s(); !slices.Equal(got, []float32{1.5, 2}) {
			t.Errorf("%s: wide is %v", dtype, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
