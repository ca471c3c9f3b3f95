package nn

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/graph"
)

// Conv2D is a 2-D convolution.
type Conv2D struct {
	Weight graph.Weight `weight:"weight"` // [O, C, kh, kw]
	Bias   graph.Weight `weight:"bias"`   // [O]
}

// Forward convolves x [B, C, H, W].
func (c Conv2D) Forward(g *graph.Graph, x graph.Value, o graph.ConvOptions) graph.Value {
	weight, bias := g.WeightIn(x.DType, c.Weight), g.WeightIn(x.DType, c.Bias)
	if same3x3(weight, o) && takesWinograd(g, x, 1, weight.Dim(0)) {
		return winograd(g, []graph.Value{x}, weight, bias)
	}
	return g.Conv(x, weight, bias, o)
}

// same3x3 reports whether a convolution has a 3×3 kernel and keeps height and width.
func same3x3(weight graph.Value, o graph.ConvOptions) bool {
	return len(weight.Shape) == 4 && weight.Dim(2) == 3 && weight.Dim(3) == 3 && len(o.Strides) == 0 && slices.Equal(o.Pads, []int64{1, 1, 1, 1})
}

// CausalConv3D is a convolution over time, height and width that sees no later frame: the result of a frame depends on
// the frame and the kt-1 before it. Height and width keep their size (zero padding).
type CausalConv3D struct {
	Weight graph.Weight `weight:"weight"` // [O, C, kt, kh, kw], kh and kw odd
	Bias   graph.Weight `weight:"bias"`   // [O]
}

// Forward is the convolution's value at the last of frames, each [1, C, H, W], oldest first: at most kt of them. Those that
// are missing at the front lie before the clip and are zero; their taps are left out.
//
// It is one 2-D convolution over the channels of all frames: [C, kt, H, W] is read as [C·kt, H, W], and the weight's bytes
// as [O, C·kt, kh, kw]. A 3-D convolution takes the same time at best, and not every provider has a good one. Where the graph is
// built so (graph.Winograd), a 3×3 kernel is applied by products of matrices instead.
func (c CausalConv3D) Forward(g *graph.Graph, frames ...graph.Value) graph.Value {
	stored := g.Expect(graph.Value{DType: c.Weight.DType, Shape: c.Weight.Shape}, -1, -1, -1, -1, -1)
	out, taps, kh, kw := stored.Dim(0), stored.Dim(2), stored.Dim(3), stored.Dim(4)
	n := int64(len(frames))
	if n > taps {
		g.Expect(stored, -1, -1, n, -1, -1)
	}
	first := g.Expect(frames[0], 1, -1, -1, -1)
	channels, height, width := first.Dim(1), first.Dim(2), first.Dim(3)
	if g.Decomposed() {
		return c.forward3D(g, frames)
	}
	var weight graph.Value
	if n == taps {
		weight = g.WeightIn(first.DType, c.Weight, out, channels*taps, kh, kw)
	} else {
		known := g.Slice(g.WeightIn(first.DType, c.Weight, out, channels, taps, kh*kw), 2, taps-n, taps)
		weight = g.Reshape(known, out, channels*n, kh, kw)
	}
	bias := g.WeightIn(first.DType, c.Bias)
	if kh == 3 && kw == 3 && takesWinograd(g, first, n, out) {
		return winograd(g, frames, weight, bias)
	}
	columns := make([]graph.Value, n)
	for i, f := range frames {
		columns[i] = g.Reshape(f, channels, 1, height, width)
	}
	x := g.Reshape(g.Concat(1, columns...), 1, channels*n, height, width)
	return g.Conv(x, weight, bias, graph.ConvOptions{Pads: []int64{kh / 2, kw / 2, kh / 2, kw / 2}})
}

// forward3D is the same as the definition has it: zero frames in front and a 3-D convolution.
func (c CausalConv3D) forward3D(g *graph.Graph, frames []graph.Value) graph.Value {
	channels, height, width := frames[0].Dim(1), frames[0].Dim(2), frames[0].Dim(3)
	taps, kh, kw := c.Weight.Shape[2], c.Weight.Shape[3], c.Weight.Shape[4]
	var clip []graph.Value
	if missing := taps - int64(len(frames)); missing > 0 {
		clip = append(clip, g.Cast(g.Zeros(1, channels, missing, height, width), frames[0].DType))
	}
	for _, f := range frames {
		clip = append(clip, g.Reshape(f, 1, channels, 1, height, width))
	}
	x := g.Concat(2, clip...)
	y := g.Conv(x, g.WeightIn(x.DType, c.Weight), g.WeightIn(x.DType, c.Bias),
		graph.ConvOptions{Pads: []int64{0, kh / 2, kw / 2, 0, kh / 2, kw / 2}})
	return g.Reshape(y, 1, y.Dim(1), y.Dim(3), y.Dim(4))
}
