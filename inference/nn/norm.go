package nn

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/graph"
)

// Norms take their statistics in float32, whatever the dtype of x, and leave the dtype of x.

// LayerNorm is the affine layer norm over the last axis.
type LayerNorm struct {
	Weight graph.Weight `weight:"weight"` // [D]
	Bias   graph.Weight `weight:"bias"`
}

// Forward normalises x [..., D].
func (n LayerNorm) Forward(g *graph.Graph, x graph.Value, eps float32) graph.Value {
	return AdaptiveLayerNorm(g, x, g.WeightIn(x.DType, n.Weight), g.WeightIn(x.DType, n.Bias), eps)
}

// AdaptiveLayerNorm is norm(x)·scale + shift with run-time scale and shift [D] (Peebles and Xie 2023, adaLN).
func AdaptiveLayerNorm(g *graph.Graph, x, scale, shift graph.Value, eps float32) graph.Value {
	if !g.Decomposed() {
		return g.LayerNormalization(x, scale, shift, eps)
	}
	wide := g.ToFloat32(x)
	centred := g.Sub(wide, g.ReduceMean(wide, -1))
	variance := g.ReduceMean(g.Mul(centred, centred), -1)
	y := g.Mul(g.Div(centred, g.Sqrt(g.Add(variance, g.Scalar(eps)))), g.ToFloat32(scale))
	return g.Cast(g.Add(y, g.ToFloat32(shift)), x.DType)
}

// RMSNorm divides by the root mean square of the last axis (Zhang and Sennrich 2019).
type RMSNorm struct {
	Weight graph.Weight `weight:"weight"` // [D]
}

// Forward normalises x [..., D].
func (n RMSNorm) Forward(g *graph.Graph, x graph.Value, eps float32) graph.Value {
	w := g.WeightIn(x.DType, n.Weight)
	if !g.Decomposed() {
		return g.RMSNormalization(x, w, eps)
	}
	wide := g.ToFloat32(x)
	meanSquare := g.ReduceMean(g.Mul(wide, wide), -1)
	return g.Cast(g.Mul(g.Div(wide, g.Sqrt(g.Add(meanSquare, g.Scalar(eps)))), g.ToFloat32(w)), x.DType)
}

// ChannelNorm is Wan's RMS_norm: x / max(‖x‖₂ over channels, 1e-12) · √C · gamma (reference: wan/modules/vae.py, RMS_norm).
type ChannelNorm struct {
	Gamma graph.Weight `weight:"gamma"` // [C, 1, …]
}

// Forward normalises x [B, C, H, W] over axis 1. All of it is float32: squares of 16-bit activations overflow fp16, and there
// is no fused operator for this axis.
func (n ChannelNorm) Forward(g *graph.Graph, x graph.Value) graph.Value {
	c := x.Dim(1)
	gamma := g.Weight(n.Gamma, append([]int64{c}, slices.Repeat([]int64{1}, len(x.Shape)-2)...)...)
	wide := g.ToFloat32(x)
	norm := g.Max(g.ReduceL2(wide, 1), g.Scalar(1e-12))
	return g.Cast(g.Mul(g.Div(wide, norm), g.Mul(gamma, g.Scalar(sqrt32(c)))), x.DType)
}
