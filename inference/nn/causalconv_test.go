package nn_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// array is a tensor with its shape.
type array struct {
	shape []int64
	data  []float32
}

func random(r *rand.Rand, shape ...int64) array {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	a := array{shape, make([]float32, n)}
	for i := range a.data {
		a.data[i] = r.Float32()*2 - 1
	}
	return a
}

// weight stores a in a file of its own.
func (a array) weight(t *testing.T, name string) graph.Weight {
	t.Helper()
	var raw []byte
	for _, x := range a.data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	stride, step := make([]int64, len(a.shape)), int64(1)
	for i := len(stride) - 1; i >= 0; i-- {
		stride[i], step = step, step*a.shape[i]
	}
	return graph.Weight{Tensor: &checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: a.shape, Stride: stride, File: file}}
}

// convolve is the definition: a 5-D convolution of one frame, its history and zeros before that.
func convolve(w, bias array, frames []array) array {
	o, c, kt, kh, kw := w.shape[0], w.shape[1], w.shape[2], w.shape[3], w.shape[4]
	height, width := frames[0].shape[2], frames[0].shape[3]
	y := array{[]int64{1, o, height, width}, make([]float32, o*height*width)}
	for oi := range o {
		for row := range height {
			for column := range width {
				sum := float64(bias.data[oi])
				for f, x := range frames {
					tap := kt - int64(len(frames)) + int64(f)
					for ci := range c {
						for i := range kh {
							for k := range kw {
								r, q := row+i-kh/2, column+k-kw/2
								if r < 0 || r >= height || q < 0 || q >= width {
									continue
								}
								sum += float64(w.data[(((oi*c+ci)*kt+tap)*kh+i)*kw+k]) * float64(x.data[(ci*height+r)*width+q])
							}
						}
					}
				}
				y.data[(oi*height+row)*width+column] = float32(sum)
			}
		}
	}
	return y
}

func TestCausalConv3D(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, kernel := range [][3]int64{{3, 3, 3}, {3, 1, 1}, {1, 1, 1}, {2, 3, 1}} {
		w, bias := random(r, 5, 4, kernel[0], kernel[1], kernel[2]), random(r, 5)
		conv := nn.CausalConv3D{Weight: w.weight(t, "w"), Bias: bias.weight(t, "b")}
		for n := range kernel[0] {
			n, in := network(t, slices.Repeat([]shape{{1, 4, 6, 7}}, int(n+1)), func(g *graph.Graph, x []graph.Value) graph.Value {
				return g.Expect(conv.Forward(g, x...), 1, 5, 6, 7)
			})
			var frames []array
			for _, p := range n.Inputs {
				frames = append(frames, array{p.Shape, in[p.Name].Float32s()})
			}
			want := convolve(w, bias, frames)
			for _, decompose := range []bool{false, true} {
				if e := maxAbs(t, run(t, n, in, decompose), want.data); !(e <= 1e-5) { // NaN fails too
					t.Errorf("kernel %v, %d frames, decomposed %v: off by %g", kernel, len(frames), decompose, e)
				}
			}
		}
	}
}

// TestCausalConv3DShape: a weight of another rank or width is a fault of the checkpoint, not a crash.
func TestCausalConv3DShape(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	bias := random(r, 5).weight(t, "b")
	for _, shape := range [][]int64{{5}, {5, 4, 3, 3}, {5, 3, 3, 3, 3}, {5, 4, 1, 3, 3}} {
		conv := nn.CausalConv3D{Weight: random(r, shape...).weight(t, "w"), Bias: bias}
		_, err := graph.Build("conv", graph.Options{}, func(g *graph.Graph) {
			g.Output("z", conv.Forward(g, g.Input("x", checkpoint.F32, 1, 4, 6, 7), g.Input("y", checkpoint.F32, 1, 4, 6, 7)))
		})
		if fault.CodeOf(err) != "graph_invalid" {
			t.Errorf("weight %v: %v", shape, err)
		}
	}
}
