package wan

import (
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// down2D halves height and width.
type down2D struct {
	Conv nn.Conv2D `weight:"resample.1"`
}

// down3D halves height, width and the number of frames, in this order.
type down3D struct {
	Space down2D  `weight:""`
	Time  halving `weight:"time_conv"`
}

// up2D doubles height and width.
type up2D struct {
	Conv nn.Conv2D `weight:"resample.1"`
}

// up3D doubles the number of frames, height and width, in this order.
type up3D struct {
	Time  doubling `weight:"time_conv"`
	Space up2D     `weight:""`
}

func (d *down2D) push(a *assembly, x frame) []frame {
	y := x.withChannels(d.Conv.Bias)
	y.height, y.width = x.height/2, x.width/2
	// One zero column on the right and one zero row below; none on the other sides.
	return []frame{a.still(path(d.Conv.Weight), x, y, func(g *graph.Graph, x graph.Value) graph.Value {
		return d.Conv.Forward(g, x, graph.ConvOptions{Strides: []int64{2, 2}, Pads: []int64{0, 0, 1, 1}})
	})}
}

func (u *up2D) push(a *assembly, x frame) []frame {
	y := x.withChannels(u.Conv.Bias)
	y.height, y.width = 2*x.height, 2*x.width
	return []frame{a.still(path(u.Conv.Weight), x, y, func(g *graph.Graph, x graph.Value) graph.Value {
		return u.Conv.Forward(g, nearest2x(g, x), graph.ConvOptions{Pads: []int64{1, 1, 1, 1}})
	})}
}

// nearest2x repeats every pixel of x [1, C, H, W] in both directions: joins of x with itself, which every execution
// provider has, and which are three times faster on the CPU than an Expand.
func nearest2x(g *graph.Graph, x graph.Value) graph.Value {
	c, h, w := x.Dim(1), x.Dim(2), x.Dim(3)
	pixels := g.Reshape(x, c*h*w, 1)
	rows := g.Reshape(g.Concat(1, pixels, pixels), c*h, 2*w)
	return g.Reshape(g.Concat(1, rows, rows), 1, c, 2*h, 2*w)
}

// halving makes one frame of two, seeing one more before them. The first frame of a clip stays by itself.
type halving struct {
	Conv nn.CausalConv3D `weight:""` // [C, C, 3, 1, 1]
}

func (h *halving) push(a *assembly, x frame) []frame {
	switch {
	case a.chunk == Only:
		return []frame{x}
	case a.chunk == First:
		a.stage(path(h.Conv.Weight), []frame{x}, []memory{remember(h.Conv, 1, x)}, nil,
			func(_ *graph.Graph, x []graph.Value, _ [][]graph.Value) (y, seen []graph.Value) { return nil, x })
		return []frame{x}
	case x.index%2 == 0:
		a.held[h] = x
		return nil
	}
	pair := []frame{a.held[h], x}
	x.index, x.of = x.index/2, x.of/2
	return a.stage(path(h.Conv.Weight), pair, []memory{remember(h.Conv, 1, x)}, []frame{x.withChannels(h.Conv.Bias)},
		func(g *graph.Graph, x []graph.Value, past [][]graph.Value) (y, seen []graph.Value) {
			return []graph.Value{h.Conv.Forward(g, past[0][0], x[0], x[1])}, x[1:]
		})
}

// doubling makes two frames of one: a causal convolution leaves the channels of both, the earlier one's first. The first
// frame of a clip passes as it is, and is not remembered: the second frame sees zeros before it.
type doubling struct {
	Conv nn.CausalConv3D `weight:""` // [2C, C, 3, 1, 1]
}

func (d *doubling) push(a *assembly, x frame) []frame {
	if a.chunk != Next {
		return []frame{x}
	}
	early := x.withChannels(d.Conv.Bias)
	early.channels /= 2
	early.index, early.of = 2*x.index, 2*x.of
	late := early
	late.index++
	return a.stage(path(d.Conv.Weight), []frame{x}, []memory{remember(d.Conv, history, x)}, []frame{early, late},
		func(g *graph.Graph, x []graph.Value, past [][]graph.Value) (y, seen []graph.Value) {
			return g.Split(d.Conv.Forward(g, append(past[0], x[0])...), 1, 2), x
		})
}
