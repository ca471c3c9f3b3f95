package nn

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

func toF32(g *graph.Graph, x graph.Value) graph.Value { return g.Cast(x, checkpoint.F32) }

// LayerNorm is the affine layer norm over the last axis.
type LayerNorm struct {
	Weight graph.Weight `weight:"weight"` // [D]
	Bias   graph.Weight `weight:"bias"`
}

// Forward normalises x [..., D].
func (n LayerNorm) Forward(g *graph.Graph, x graph.Value, eps float32) graph.Value {
	return AdaptiveLayerNorm(g, x, g.Weight(n.Weight), g.Weight(n.Bias), eps)
}

// AdaptiveLayerNorm is norm(x)·scale + shift with run-time scale and shift [D] (Peebles and Xie 2023, adaLN).
func AdaptiveLayerNorm(g *graph.Graph, x, scale, shift graph.Value, eps float32) graph.Value {
	if !g.Decomposed() {
		return g.LayerNormalization(x, scale, shift, eps)
	}
	centred := g.Sub(x, g.ReduceMean(x, -1))
	variance := g.ReduceMean(g.Mul(centred, centred), -1)
	return g.Add(g.Mul(g.Div(centred, g.Sqrt(g.Add(variance, g.Scalar(eps)))), scale), shift)
}

// RMSNorm divides by the root mean square of the last axis (Zhang and Sennrich 2019).
type RMSNorm struct {
	Weight graph.Weight `weight:"weight"` // [D]
}

// Forward normalises x [..., D].
func (n RMSNorm) Forward(g *graph.Graph, x graph.Value, eps float32) graph.Value {
	w := g.Weight(n.Weight)
	if !g.Decomposed() {
		return g.RMSNormalization(x, w, eps)
	}
	meanSquare := g.ReduceMean(g.Mul(x, x), -1)
	return g.Mul(g.Div(x, g.Sqrt(g.Add(meanSquare, g.Scalar(eps)))), w)
}

// ChannelNorm is Wan's RMS_norm: x / max(‖x‖₂ over channels, 1e-12) · √C · gamma (reference: wan/modules/vae.py, RMS_norm).
type ChannelNorm struct {
	Gamma graph.Weight `weight:"gamma"` // [C, 1, …]
}

// Forward normalises x [B, C, H, W] over axis 1.
func (n ChannelNorm) Forward(g *graph.Graph, x graph.Value) graph.Value {
	c := x.Dim(1)
	gamma := g.Weight(n.Gamma, append([]int64{c}, slices.Repeat([]int64{1}, len(x.Shape)-2)...)...)
	norm := g.Max(g.ReduceL2(x, 1), g.Scalar(1e-12))
	return g.Mul(g.Div(x, norm), g.Mul(gamma, g.Scalar(sqrt32(c))))
}
