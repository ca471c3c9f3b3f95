package nn

import (
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// takesInt8 reports whether the layer is computed in 8 bits. One whose weight an adapter changes is not: the weight is rounded
// where it is loaded, before the graph could add to it.
func (l Linear) takesInt8(g *graph.Graph, x graph.Value) bool {
	return l.Int8 && g.Int8() && !g.Decomposed() && x.DType == checkpoint.F32 && len(l.Weight.Deltas) == 0
}

// forwardInt8 rounds the weight's rows and the rows of x each to 8 bits of their own scale (W8A8, a scale per output and per
// token; Dettmers et al. 2022). Sums are exact, so the error is that of rounding: some 2 % of a block's update of random numbers.
func (l Linear) forwardInt8(g *graph.Graph, x graph.Value) graph.Value {
	columns, scales := g.Int8Weight(l.Weight)
	rows := g.Reshape(x, -1, x.Dim(-1))
	largest := g.Max(g.ReduceMax(g.Abs(rows), -1), g.Scalar(1e-30)) // a row of zeros stays one
	scale := g.Mul(largest, g.Scalar(1./127))                       // [rows, 1]
	rounded := g.Cast(g.Add(g.Round(g.Div(rows, scale)), g.Scalar(128)), checkpoint.U8)
	y := g.Mul(g.LinearInt8(rounded, columns, scales), scale)
	return withRows(g, g.Add(y, g.WeightIn(x.DType, l.Bias)), x)
}
