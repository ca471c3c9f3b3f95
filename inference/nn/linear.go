package nn

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/graph"
)

// Linear is x·Weightᵀ + Bias + the sum of its sides.
type Linear struct {
	Weight graph.Weight `weight:"weight"` // [out, in]
	Bias   graph.Weight `weight:"bias"`   // [out]
	Sides  []Side

	// Int8 allows graphs that ask for it (graph.Options.Int8) to compute the layer in 8 bits.
	Int8 bool
}

// Side is a low-rank branch beside a linear layer: Scale·(x·Downᵀ)·Upᵀ (Hu et al. 2022, LoRA). The layer's own weight is
// read as it lies, and a layer without sides is the same graph as ever.
type Side struct {
	Down  graph.Weight // [rank, in]; axes after the first are read as one
	Up    graph.Weight // [out, rank]; likewise
	Scale float32
}

// Forward maps x [..., in] to [..., out].
func (l Linear) Forward(g *graph.Graph, x graph.Value) graph.Value {
	if l.takesInt8(g, x) {
		return l.sides(g, x, l.forwardInt8(g, x))
	}
	return l.sides(g, x, project(g, x, g.WeightIn(x.DType, l.Weight), g.WeightIn(x.DType, l.Bias)))
}

// GeluTanh is the GELU (tanh) of the layer. In 16 bits the two are fused as far as a card's kernels go; what an adapter adds
// beside the layer comes before GELU, so such a layer is not fused.
func (l Linear) GeluTanh(g *graph.Graph, x graph.Value) graph.Value {
	if !graph.Half(x.DType) || g.Decomposed() || len(l.Sides) > 0 {
		return GeluTanh(g, l.Forward(g, x))
	}
	y := g.LinearFastGelu(g.Reshape(x, -1, x.Dim(-1)), g.WeightIn(x.DType, l.Weight), g.WeightIn(x.DType, l.Bias))
	return withRows(g, y, x)
}

// Patches maps x [rows, in] to [rows, out] where the weight is the kernel [out, C, …] of a convolution whose stride is its
// size: over a patch's values, in the kernel's order, that is a linear layer.
func (l Linear) Patches(g *graph.Graph, x graph.Value) graph.Value {
	y := g.Linear(x, g.WeightIn(x.DType, l.Weight, l.Weight.Shape[0], x.Dim(-1)), g.WeightIn(x.DType, l.Bias))
	return l.sides(g, x, y)
}

// sides adds the branches of x to y. The scale is applied where the values are fewest.
func (l Linear) sides(g *graph.Graph, x, y graph.Value) graph.Value {
	for _, s := range l.Sides {
		rank := s.Down.Shape[0]
		low := project(g, x, g.WeightIn(x.DType, s.Down, rank, x.Dim(-1)), graph.Value{})
		up := g.WeightIn(x.DType, s.Up, y.Dim(-1), rank)
		y = g.Add(y, project(g, g.Mul(low, g.ScalarLike(low, s.Scale)), up, graph.Value{}))
	}
	return y
}

// Projection is x·Weightᵀ, without a bias.
type Projection struct {
	Weight graph.Weight `weight:"weight"` // [out, in]
}

// Forward maps x [..., in] to [..., out].
func (p Projection) Forward(g *graph.Graph, x graph.Value) graph.Value {
	return project(g, x, g.WeightIn(x.DType, p.Weight), graph.Value{})
}

// project runs on rows: a reshape is free and a Gemm reads the weight as it lies.
func project(g *graph.Graph, x, weight, bias graph.Value) graph.Value {
	return withRows(g, g.Linear(g.Reshape(x, -1, x.Dim(-1)), weight, bias), x)
}

// withRows gives y [rows, out] the leading axes of x.
func withRows(g *graph.Graph, y, x graph.Value) graph.Value {
	return g.Reshape(y, append(slices.Clone(x.Shape[:len(x.Shape)-1]), y.Dim(-1))...)
}

// In is the size of the argument's last axis.
func (l Linear) In() int64 { return l.Weight.Shape[1] }

// Embedding is a table of rows.
type Embedding struct {
	Weight graph.Weight `weight:"weight"` // [N, D]
}

// Forward picks rows by ids [...] (int64): the result is [..., D]. The rows come in float32; the table is
// never widened.
func (e Embedding) Forward(g *graph.Graph, ids graph.Value) graph.Value {
	return g.ToFloat32(g.Gather(g.StoredWeight(e.Weight), ids))
}
