package nn_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
	"github.com/humo-worker/humo-worker/inference/ort"
)

// convolveAt is one value of convolve, in float64.
func convolveAt(w, bias array, frames []array, o, row, column int64) float64 {
	c, kt := w.shape[1], w.shape[2]
	height, width := frames[0].shape[2], frames[0].shape[3]
	sum := float64(bias.data[o])
	for f, x := range frames {
		tap := kt - int64(len(frames)) + int64(f)
		for ci := range c {
			for i := range int64(9) {
				r, q := row+i/3-1, column+i%3-1
				if r >= 0 && r < height && q >= 0 && q < width {
					sum += float64(w.data[((o*c+ci)*kt+tap)*9+i]) * float64(x.data[(ci*height+r)*width+q])
				}
			}
		}
	}
	return sum
}

// TestWinograd: at the widths of the published VAE and at sizes with and without a remainder, in one band and in several, the
// products of transformed tiles are the convolution, within 1.5e-5 of a typical value (without Winograd: 1e-6).
func TestWinograd(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, test := range []struct{ channels, out, frames, height, width int64 }{
		{96, 96, 3, 100, 416}, // two bands
		{192, 192, 2, 12, 20}, // the second frame of a clip
		{384, 384, 3, 16, 24},
		{192, 96, 1, 10, 15},
		{16, 384, 3, 7, 13},
		{4, 5, 2, 1, 1},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			// Kernels as they are after training: the result's size is that of the frames.
			w, bias := random(r, test.out, test.channels, 3, 3, 3), random(r, test.out)
			for i := range w.data {
				w.data[i] /= float32(math.Sqrt(float64(9 * test.channels * test.frames)))
			}
			conv := nn.CausalConv3D{Weight: w.weight(t, "w"), Bias: bias.weight(t, "b")}
			frame := shape{1, test.channels, test.height, test.width}
			n, in := network(t, slices.Repeat([]shape{frame}, int(test.frames)), func(g *graph.Graph, x []graph.Value) graph.Value {
				return g.Expect(conv.Forward(g, x...), 1, test.out, test.height, test.width)
			})
			var frames []array
			for _, p := range n.Inputs {
				frames = append(frames, array{p.Shape, in[p.Name].Float32s()})
			}
			plain := runWith(t, n, in, ort.ChainOptions{Decompose: true})
			y := runWith(t, n, in, ort.ChainOptions{Winograd: graph.WinogradAlways})
			var worst, worstPlain, size float64
			const places = 1500
			for range places {
				o, row, column := r.Int64N(test.out), r.Int64N(test.height), r.Int64N(test.width)
				want, at := convolveAt(w, bias, frames, o, row, column), (o*test.height+row)*test.width+column
				worst = max(worst, math.Abs(float64(y[at])-want))
				worstPlain = max(worstPlain, math.Abs(float64(plain[at])-want))
				size += want * want / places
			}
			worst, worstPlain = worst/math.Sqrt(size), worstPlain/math.Sqrt(size)
			t.Logf("off by %.2g of a typical value; without Winograd %.2g", worst, worstPlain)
			if !(worst <= 1.5e-5) || worst == 0 {
				t.Errorf("off by %.2g of a typical value", worst)
			}
			if d := maxAbs(t, y, plain); !(d <= 2e-5*math.Sqrt(size)) {
				t.Errorf("away from the plain form by %.2g", d)
			}
		})
	}
}
