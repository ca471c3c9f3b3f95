package wan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/ort/orttest"
)

// TestFeedForwardInParts: rows that pass the feed-forward network in parts of unequal sizes have the bits of rows that pass it all at
// once, in all numbers that the transformer computes in.
func TestFeedForwardInParts(t *testing.T) {
	rt := orttest.Open(t)
	const rows = feedForwardRows + 3
	for _, file := range []string{"HuMo/HuMo-1.7B/ema.pth", "HuMo/HuMo-17B/humo.safetensors.index.json"} {
		ix, err := checkpoint.Open("../../testdata/golden/dev/weights/" + file)
		if err != nil {
			t.Fatal(err)
		}
		m, _, err := LoadDiT(ix)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(5, 6))
		x := make([]float32, rows*m.Dim())
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		for _, o := range []ort.ChainOptions{{}, {Decompose: true}, {Int8: true}, {Compute: checkpoint.F16}, {Compute: checkpoint.BF16}} {
			if o.Int8 && !ort.Int8Exact() {
				t.Log("this processor has no VNNI instructions: 8 bits were not compared")
				continue
			}
			want := feedForward(t, rt, m, o, x, rows)
			for _, most := range []int64{feedForwardRows, 300} {
				if got := feedForward(t, rt, m, o, x, most); !slices.Equal(got, want) {
					t.Errorf("%s, compute %s, int8 %v: at most %d of %d rows at once give other bits", file, o.Compute, o.Int8, most, rows)
				}
			}
		}
	}
}

// feedForward runs block 0's network for at most so many rows at once.
func feedForward(t *testing.T, rt *ort.Runtime, m *DiT, o ort.ChainOptions, data []float32, most int64) []float32 {
	t.Helper()
	shape := []int64{int64(len(data)) / m.Dim(), m.Dim()}
	chain, err := rt.NewChain(&graph.Network{
		Name: fmt.Sprintf("feed_forward_%d", most), Inputs: []graph.Port{float32Port("x", shape...)}, Outputs: []string{"y"},
		Stages: []graph.Stage{{Name: "ffn", In: []string{"x"}, Out: []string{"y"}, Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
			return []graph.Value{g.ToFloat32(m.Blocks[0].feedForward(g, g.ToCompute(in[0]), most))}
		}}},
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	x, err := ort.FromFloat32s(shape, data)
	if err != nil {
		t.Fatal(err)
	}
	out, err := chain.Run(t.Context(), map[string]*ort.Tensor{"x": x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := ort.Float32s(out, "y")
	if err := errors.Join(err, chain.Close()); err != nil {
		t.Fatal(err)
	}
	return y
}
