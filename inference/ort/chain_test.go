package ort

import (
	"context"
	"errors"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// scaling is a stage that multiplies x by the one number that lies at offset in a file.
func scaling(name, file string, offset int64, dtype checkpoint.DType) graph.Stage {
	w := graph.Weight{Tensor: stored(file, offset, dtype, []int64{1}, 1)}
	return graph.Stage{Name: name, In: []string{"x"}, Out: []string{"x"}, Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
		return []graph.Value{g.Mul(in[0], g.Weight(w))}
	}}
}

func vector(name string, n int64) graph.Port {
	return graph.Port{Name: name, DType: checkpoint.F32, Shape: []int64{n}}
}

// Joined and split chains compute the same; blocks of one structure share a session; 16-bit weights are never joined.
func TestChainShapes(t *testing.T) {
	rt := openRuntime(t, Config{})
	file := weightFile(t, 0, bytesOf([]float32{2, 3, 5}))
	halves := weightFile(t, 0, []byte{0x00, 0x40, 0x40, 0x40}) // 2 and 3 in bf16
	for _, test := range []struct {
		name     string
		file     string
		dtype    checkpoint.DType
		size     int64
		join     bool
		sessions int
		want     float32
	}{
		{"joined", file, checkpoint.F32, 4, true, 1, 6},
		{"split", file, checkpoint.F32, 4, false, 1, 6},
		{"bf16", halves, checkpoint.BF16, 2, true, 1, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &graph.Network{Name: "net", Inputs: []graph.Port{vector("x", 2)}, Outputs: []string{"x"},
				Stages: []graph.Stage{scaling("blocks.0", test.file, 0, test.dtype), scaling("blocks.1", test.file, test.size, test.dtype)}}
			if test.join && test.dtype == checkpoint.F32 {
				// A name that is input and output at once has no meaning in one model.
				n.Stages[1].Out, n.Outputs = []string{"y"}, []string{"y"}
			}
			c, err := rt.NewChain(n, ChainOptions{Join: test.join})
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, c)
			if len(c.own) != test.sessions {
				t.Errorf("%d sessions, want %d", len(c.own), test.sessions)
			}
			for range 2 {
				out, err := c.Run(t.Context(), map[string]*Tensor{"x": floats(t, []int64{2}, 1, 10)}, nil)
				if err != nil {
					t.Fatal(err)
				}
				equalFloats(t, out[n.Outputs[0]], test.want, 10*test.want)
				if err := CloseAll(out); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A network that works chunk by chunk finds what the last run left, and its old state is freed while it runs.
func TestChainState(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n = 1 << 20
	counter := &graph.Network{
		Name: "counter", Inputs: []graph.Port{vector("x", n), vector("sum", n)}, Outputs: []string{"y"}, State: []string{"sum"},
		Stages: []graph.Stage{
			{Name: "add", In: []string{"x", "sum"}, Out: []string{"sum"}, Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
				return []graph.Value{g.Add(in[0], in[1])}
			}},
			{Name: "double", In: []string{"sum"}, Out: []string{"y"}, Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
				return []graph.Value{g.Add(in[0], in[0])}
			}},
		},
	}
	c, err := rt.NewChain(counter, ChainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, c)
	before := allocated.Load()
	x, err := FromFloat32s([]int64{n}, make([]float32, n))
	if err != nil {
		t.Fatal(err)
	}
	x.Float32s()[3] = 1
	zero, err := Zeros(checkpoint.F32, []int64{n})
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]*Tensor{"sum": zero}
	for i := range 5 {
		out, err := c.Run(t.Context(), map[string]*Tensor{"x": x}, state)
		if err != nil {
			t.Fatal(err)
		}
		if got := out["y"].Float32s()[3]; got != float32(2*(i+1)) {
			t.Errorf("run %d leaves %v", i, got)
		}
		if err := CloseAll(out); err != nil {
			t.Error(err)
		}
		if got := allocated.Load() - before; got != 4*n {
			t.Errorf("after run %d, %d bytes are held, want the state's %d", i, got, 4*n)
		}
	}
	if zero.Bytes() != nil {
		t.Error("the first state was not closed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Run(ctx, map[string]*Tensor{"x": x}, state); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := CloseAll(state); err != nil {
		t.Error(err)
	}
	if got := allocated.Load() - before; got != 0 {
		t.Errorf("%d bytes are still held after a failed run", got)
	}
	if _, err := c.Run(t.Context(), map[string]*Tensor{"x": x}, nil); err == nil {
		t.Error("a run without its state was accepted")
	}
}
