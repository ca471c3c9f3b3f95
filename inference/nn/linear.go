package nn

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/graph"
)

// Linear is x·Weightᵀ + Bias.
type Linear struct {
	Weight graph.Weight `weight:"weight"` // [out, in]
	Bias   graph.Weight `weight:"bias"`   // [out]
}

// Forward maps x [..., in] to [..., out].
func (l Linear) Forward(g *graph.Graph, x graph.Value) graph.Value {
	return project(g, x, g.Weight(l.Weight), g.Weight(l.Bias))
}

// Projection is x·Weightᵀ, without a bias.
type Projection struct {
	Weight graph.Weight `weight:"weight"` // [out, in]
}

// Forward maps x [..., in] to [..., out].
func (p Projection) Forward(g *graph.Graph, x graph.Value) graph.Value {
	return project(g, x, g.Weight(p.Weight), graph.Value{})
}

// project runs on rows: a reshape is free and a Gemm reads the weight as it lies.
func project(g *graph.Graph, x, weight, bias graph.Value) graph.Value {
	y := g.Linear(g.Reshape(x, -1, x.Dim(-1)), weight, bias)
	return g.Reshape(y, append(slices.Clone(x.Shape[:len(x.Shape)-1]), y.Dim(-1))...)
}

// In is the size of the argument's last axis.
func (l Linear) In() int64 { return l.Weight.Shape[1] }

// Embedding is a table of rows.
type Embedding struct {
	Weight graph.Weight `weight:"weight"` // [N, D]
}

// Forward picks rows by ids [...] (int64): the result is [..., D]. Only the picked rows are widened.
func (e Embedding) Forward(g *graph.Graph, ids graph.Value) graph.Value {
	return toF32(g, g.Gather(g.StoredWeight(e.Weight), ids))
}
