package wan

import (
	"strconv"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// Chunk says which part of a clip a network of the VAE computes.
type Chunk int

// The chunks of a clip. First and Next leave the memories of the temporal convolutions as the network's state; Next reads
// them under the same names. A memory that Next reads and First does not leave is zero.
const (
	First Chunk = iota // the first frame
	Next               // four more frames, as often as there are
	Only               // the first frame of a clip that has no other: nothing is remembered
)

// assembly writes down the network of one chunk. Frames pass through it one by one and depth first: a frame runs through
// all the layers before the next one starts. So little more than the memories is alive at any time, and a layer's
// stages are the same model for each of its frames.
type assembly struct {
	graph.Network
	chunk   Chunk
	compute checkpoint.DType // of frames on their way and of memories
	held    map[layer]frame  // the first frames of pairs that a layer joins
	names   int
}

func newAssembly(name string, compute checkpoint.DType, chunk Chunk) *assembly {
	return &assembly{Network: graph.Network{Name: name}, chunk: chunk, compute: graph.ComputeType(compute), held: map[layer]frame{}}
}

// frame is the value [1, C, H, W] of one frame on its way.
type frame struct {
	value                   string
	channels, height, width int64
	index, of               int // its place among the frames of the chunk at this depth
}

// layer passes a frame on: to none yet, to one frame or to two.
type layer interface {
	push(a *assembly, x frame) []frame
}

// run pushes x through layers and gives every frame that leaves the last of them to emit.
func (a *assembly) run(layers []layer, x frame, emit func(frame)) {
	if len(layers) == 0 {
		emit(x)
		return
	}
	for _, y := range layers[0].push(a, x) {
		a.run(layers[1:], y, emit)
	}
}

// input declares a frame that the network is given, in float32.
func (a *assembly) input(x frame) frame {
	a.Inputs = append(a.Inputs, x.port(x.value, checkpoint.F32))
	return x
}

func (x frame) port(name string, dtype checkpoint.DType) graph.Port {
	return graph.Port{Name: name, DType: dtype, Shape: []int64{1, x.channels, x.height, x.width}}
}

// memory is what a temporal convolution remembers: the last size frames that it has seen, as values NAME.0, NAME.1
// which new frames replace in turn. So nothing is copied, and old and new live side by side for one stage only.
type memory struct {
	name string
	size int
	frame
}

// remember is the memory of conv when the frame x comes to it.
func remember(conv nn.CausalConv3D, size int, x frame) memory {
	return memory{path(conv.Weight), size, x}
}

func (m memory) slot(i int) string { return m.name + "." + strconv.Itoa(i%m.size) }

// past names the remembered frames, oldest first.
func (m memory) past(a *assembly) (names []string) {
	if a.chunk != Next {
		return nil
	}
	for i := range m.size {
		names = append(names, m.slot(m.index+i))
	}
	if m.index == 0 {
		for _, name := range names {
			a.Inputs, a.State = append(a.Inputs, m.port(name, a.compute)), append(a.State, name)
		}
	}
	return names
}

// future names the values that are new in the memory once the frame has been seen: the frame itself, in the oldest
// one's place. Where the chunk's frames do not go round, the remembered ones are moved instead, so that the next chunk
// finds the oldest in its place; that is the case only where the frames are small.
func (m memory) future(a *assembly) (names []string) {
	switch {
	case a.chunk == Only:
		return nil
	case a.chunk == First:
		names = append(names, m.slot(m.size-1))
		a.State = append(a.State, names...)
	case m.of%m.size == 0:
		names = append(names, m.slot(m.index))
	default:
		for i := range m.size {
			names = append(names, m.slot(i))
		}
	}
	return names
}

// forward computes a stage's results from its arguments and from what its convolutions remember, oldest first. seen are
// the frames that they are to remember.
type forward func(g *graph.Graph, x []graph.Value, past [][]graph.Value) (y, seen []graph.Value)

// stage adds a stage that reads the frames x and the memories and leaves the frames y, which it gives their values.
func (a *assembly) stage(name string, x []frame, memories []memory, y []frame, f forward) []frame {
	s := graph.Stage{Name: name}
	for _, v := range x {
		s.In = append(s.In, v.value)
	}
	for i := range y {
		a.names++
		y[i].value = "x" + strconv.Itoa(a.names)
		s.Out = append(s.Out, y[i].value)
	}
	past, future := make([]int, len(memories)), make([]int, len(memories)) // how many values of each memory
	for i, m := range memories {
		p, n := m.past(a), m.future(a)
		past[i], future[i] = len(p), len(n)
		s.In, s.Out = append(s.In, p...), append(s.Out, n...)
	}
	s.Build = func(g *graph.Graph, in []graph.Value) []graph.Value {
		args, rest := in[:len(x)], in[len(x):]
		remembered := make([][]graph.Value, len(past))
		for i, n := range past {
			remembered[i], rest = rest[:n:n], rest[n:]
		}
		out, seen := f(g, args, remembered)
		for i, v := range seen {
			all := append(remembered[i], v)
			out = append(out, all[len(all)-future[i]:]...)
		}
		return out
	}
	a.Stages = append(a.Stages, s)
	return y
}

// still adds a stage of one frame without memory.
func (a *assembly) still(name string, x, y frame, f func(g *graph.Graph, x graph.Value) graph.Value) frame {
	return a.stage(name, []frame{x}, nil, []frame{y}, func(g *graph.Graph, x []graph.Value, _ [][]graph.Value) (y, seen []graph.Value) {
		return []graph.Value{f(g, x[0])}, nil
	})[0]
}

// finish adds the last stage of a frame, whose result is the network's output of the given name.
func (a *assembly) finish(stage string, x frame, output string, f func(g *graph.Graph, x graph.Value) graph.Value) {
	a.still(stage, x, x, f)
	a.Stages[len(a.Stages)-1].Out[0] = output
}
