package nn_test

import (
	"math/rand/v2"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
	"github.com/humo-worker/humo-worker/inference/ort"
)

// TestAdaptedLinearInHalf: a layer with all that an adapter can bring computes in 16 bits what it computes in float32.
func TestAdaptedLinearInHalf(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const in, out, rank = 16, 12, 3
	layer := nn.Linear{Weight: random(r, out, in).weight(t, "w"), Bias: random(r, out).weight(t, "b"), Sides: []nn.Side{
		{Down: random(r, rank, in).weight(t, "down"), Up: random(r, out, rank).weight(t, "up"), Scale: 0.3},
	}}
	layer.Weight.Deltas = []graph.Delta{{Tensor: random(r, out, in).weight(t, "diff").Tensor, Scale: 0.7}}
	layer.Bias.Deltas = []graph.Delta{{Tensor: random(r, out).weight(t, "diff_b").Tensor, Scale: -0.7}}
	wantAlike(t, func(g *graph.Graph, x graph.Value) graph.Value { return layer.Forward(g, x) })
	wantAlike(t, func(g *graph.Graph, x graph.Value) graph.Value { return layer.GeluTanh(g, x) })
	layer.Sides = nil
	wantAlike(t, func(g *graph.Graph, x graph.Value) graph.Value { return layer.GeluTanh(g, x) })
}

// wantAlike compares forward, of [5, 16], with itself in 16 bits.
func wantAlike(t *testing.T, forward func(g *graph.Graph, x graph.Value) graph.Value) {
	t.Helper()
	n, x := network(t, []shape{{5, 16}}, func(g *graph.Graph, in []graph.Value) graph.Value {
		y := forward(g, g.ToCompute(in[0]))
		if y.DType != g.ComputeType() {
			t.Errorf("the layer computes in %s, not in %s", y.DType, g.ComputeType())
		}
		return g.ToFloat32(y)
	})
	exact := run(t, n, x, false)
	largest := maxAbs(t, exact, make([]float32, len(exact)))
	for dtype, digits := range map[checkpoint.DType]float64{checkpoint.F16: 0x1p-11, checkpoint.BF16: 0x1p-8} {
		e := maxAbs(t, runWith(t, n, x, ort.ChainOptions{Compute: dtype}), exact)
		if !(e <= 4*digits*largest) || e == 0 {
			t.Errorf("%s: off by %g of %g", dtype, e, largest)
		}
	}
}
