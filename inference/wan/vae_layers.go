package wan

import (
	"math"
	"strings"

	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// history is how many earlier frames a causal convolution with three taps in time sees.
const history = 2

// path is the module that a weight belongs to.
func path(w graph.Weight) string { return strings.TrimSuffix(w.Name, ".weight") }

// withChannels is x with the channels that a convolution with the given bias leaves.
func (x frame) withChannels(bias graph.Weight) frame {
	x.channels = bias.Elements()
	return x
}

// causal is a causal convolution by itself.
type causal struct {
	Conv nn.CausalConv3D `weight:""`
}

func (c *causal) push(a *assembly, x frame) []frame {
	return a.stage(path(c.Conv.Weight), []frame{x}, []memory{remember(c.Conv, history, x)}, []frame{x.withChannels(c.Conv.Bias)},
		func(g *graph.Graph, x []graph.Value, past [][]graph.Value) (y, seen []graph.Value) {
			x0 := g.ToCompute(x[0]) // the first layer of the encoder is given float32
			return []graph.Value{c.Conv.Forward(g, append(past[0], x0)...)}, []graph.Value{x0}
		})
}

// vaeHead is the last layer of either half: conv(silu(norm(x))).
type vaeHead struct {
	Norm nn.ChannelNorm  `weight:"0"`
	Conv nn.CausalConv3D `weight:"2"`
}

func (h *vaeHead) push(a *assembly, x frame) []frame {
	return a.stage(path(h.Conv.Weight), []frame{x}, []memory{remember(h.Conv, history, x)}, []frame{x.withChannels(h.Conv.Bias)},
		func(g *graph.Graph, x []graph.Value, past [][]graph.Value) (y, seen []graph.Value) {
			h1 := nn.SiLU(g, h.Norm.Forward(g, x[0]))
			return []graph.Value{h.Conv.Forward(g, append(past[0], h1)...)}, []graph.Value{h1}
		})
}

// residual is x + conv(silu(norm(conv(silu(norm(x)))))).
type residual struct {
	Norm1 nn.ChannelNorm  `weight:"residual.0"`
	Conv1 nn.CausalConv3D `weight:"residual.2"`
	Norm2 nn.ChannelNorm  `weight:"residual.3"`
	Conv2 nn.CausalConv3D `weight:"residual.6"`
}

// widening is a residual block that changes the number of channels: x goes round it through a 1×1×1 convolution.
type widening struct {
	Block    residual        `weight:""`
	Shortcut nn.CausalConv3D `weight:"shortcut"`
}

func (r *residual) push(a *assembly, x frame) []frame { return r.add(a, x, nil) }

func (w *widening) push(a *assembly, x frame) []frame { return w.Block.add(a, x, &w.Shortcut) }

func (r *residual) add(a *assembly, x frame, shortcut *nn.CausalConv3D) []frame {
	memories := []memory{remember(r.Conv1, history, x), remember(r.Conv2, history, x.withChannels(r.Conv1.Bias))}
	return a.stage(path(r.Conv1.Weight), []frame{x}, memories, []frame{x.withChannels(r.Conv2.Bias)},
		func(g *graph.Graph, x []graph.Value, past [][]graph.Value) (y, seen []graph.Value) {
			h1 := nn.SiLU(g, r.Norm1.Forward(g, x[0]))
			h2 := nn.SiLU(g, r.Norm2.Forward(g, r.Conv1.Forward(g, append(past[0], h1)...)))
			out, around := r.Conv2.Forward(g, append(past[1], h2)...), x[0]
			if shortcut != nil {
				around = shortcut.Forward(g, around)
			}
			return []graph.Value{g.Add(around, out)}, []graph.Value{h1, h2}
		})
}

// middle is the narrowest part of either half, the only one that sees a whole frame at once.
type middle struct {
	Before residual       `weight:"0"`
	Attend pixelAttention `weight:"1"`
	After  residual       `weight:"2"`
}

func (m *middle) layers() []layer { return []layer{&m.Before, &m.Attend, &m.After} }

// pixelAttention is single-head self-attention over the pixels of a frame, added to them.
type pixelAttention struct {
	Norm nn.ChannelNorm `weight:"norm"`
	QKV  nn.Conv2D      `weight:"to_qkv"` // [3C, C, 1, 1]
	Proj nn.Conv2D      `weight:"proj"`   // [C, C, 1, 1]
}

func (t *pixelAttention) push(a *assembly, x frame) []frame {
	return []frame{a.still(path(t.QKV.Weight), x, x, t.forward)}
}

// forward works on rows [pixels, C], where a 1×1 convolution is a linear layer.
func (t *pixelAttention) forward(g *graph.Graph, x graph.Value) graph.Value {
	c, pixels := x.Dim(1), x.Dim(2)*x.Dim(3)
	rows := g.Transpose(g.Reshape(t.Norm.Forward(g, x), c, pixels), 1, 0)
	qkv := g.Split(g.Linear(rows, g.WeightIn(x.DType, t.QKV.Weight, 3*c, c), g.WeightIn(x.DType, t.QKV.Bias)), 1, 3)
	for i := range qkv {
		qkv[i] = g.Reshape(qkv[i], 1, pixels, c)
	}
	scale := float32(1 / math.Sqrt(float64(c)))
	rows = g.Reshape(nn.Attention(g, qkv[0], qkv[1], qkv[2], graph.Value{}, 1, scale), pixels, c)
	rows = g.Linear(rows, g.WeightIn(x.DType, t.Proj.Weight, c, c), g.WeightIn(x.DType, t.Proj.Bias))
	return g.Add(x, g.Reshape(g.Transpose(rows, 1, 0), x.Shape...))
}
