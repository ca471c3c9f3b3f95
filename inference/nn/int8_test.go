package nn_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
	"github.com/humo-worker/humo-worker/inference/ort"
)

// round8 divides a row by its scale and rounds.
func round8(row []float32) (scale float64, rounded []float64) {
	largest := 0.0
	for _, x := range row {
		largest = max(largest, math.Abs(float64(x)))
	}
	scale = math.Max(largest, 1e-30) / 127
	for _, x := range row {
		rounded = append(rounded, math.RoundToEven(float64(x)/scale))
	}
	return scale, rounded
}

// TestInt8: a layer in 8 bits equals the same arithmetic in Go, and is a rounding away from the layer in float32, for tokens and
// outputs of very different sizes, zero among them, and with an adapter beside it.
func TestInt8(t *testing.T) {
	if !ort.Int8Exact() {
		t.Skip("this processor has no VNNI instructions")
	}
	r := rand.New(rand.NewPCG(9, 10))
	const rows, in, out, rank = 70, 200, 130, 4
	w, bias := random(r, out, in), random(r, out)
	for i := range w.data {
		w.data[i] *= float32(math.Pow(10, float64(i/in%5)-2))
		if i/in == 7 {
			w.data[i] = 0
		}
	}
	layer := nn.Linear{Weight: w.weight(t, "w"), Bias: bias.weight(t, "b"), Int8: true}
	forward := func(g *graph.Graph, x []graph.Value) graph.Value { return layer.Forward(g, x[0]) }
	n, x := network(t, []shape{{2, rows, in}}, forward)
	values := x["x0"].Float32s() // rewritten in place
	for i := range values {
		values[i] *= float32(math.Pow(10, float64(i/in%7)-3))
		if i/in == 3 {
			values[i] = 0
		}
	}
	y := runWith(t, n, x, ort.ChainOptions{Int8: true})
	var weights [][]float64
	var scales []float64
	for o := range out {
		s, q := round8(w.data[o*in : (o+1)*in])
		weights, scales = append(weights, q), append(scales, s)
	}
	for row := range 2 * rows {
		s, q := round8(values[row*in : (row+1)*in])
		for o := range out {
			sum := 0.0
			for i := range in {
				sum += q[i] * weights[o][i]
			}
			want := sum*s*scales[o] + float64(bias.data[o])
			// A quotient that lies next to a half may be rounded to the other side in float32.
			if e := math.Abs(float64(y[row*out+o]) - want); !(e <= 127*s*scales[o]+1e-5*math.Abs(want)) {
				t.Fatalf("row %d, output %d: %g, want %g", row, o, y[row*out+o], want)
			}
		}
	}
	layer.Sides = []nn.Side{{Down: random(r, rank, in).weight(t, "down"), Up: random(r, out, rank).weight(t, "up"), Scale: 0.1}}
	for _, adapted := range []bool{false, true} {
		if !adapted {
			layer.Sides = nil
		}
		exact, rounded := run(t, n, x, false), runWith(t, n, x, ort.ChainOptions{Int8: true})
		if e := golden.RelativeL2(rounded, exact); !(e > 1e-3 && e <= 2e-2) {
			t.Errorf("in 8 bits the layer is off by %.2g", e)
		}
	}
	// A weight that an adapter changes is not rounded.
	layer.Weight.Deltas = []graph.Delta{{Tensor: random(r, out, in).weight(t, "diff").Tensor, Scale: 0.7}}
	if e := golden.RelativeL2(runWith(t, n, x, ort.ChainOptions{Int8: true}), run(t, n, x, false)); e != 0 {
		t.Errorf("the adapted weight is off by %.2g", e)
	}
}

// TestInt8Stored: a layer stored in 16 bits is rounded from there; others, and layers of a graph that asks for nothing, are not.
func TestInt8Stored(t *testing.T) {
	w := graph.Weight{Tensor: &checkpoint.Tensor{Name: "w", DType: checkpoint.BF16, Shape: []int64{4, 8}, Stride: []int64{8, 1}, File: "/f"}}
	b := graph.Weight{Tensor: &checkpoint.Tensor{Name: "b", DType: checkpoint.BF16, Shape: []int64{4}, Stride: []int64{1}, File: "/f"}}
	for _, test := range []struct {
		allowed, asked bool
		want           int
	}{{true, true, 2}, {true, false, 0}, {false, true, 0}} {
		m, err := graph.Build("layer", graph.Options{Weights: graph.Converted, Int8: test.asked}, func(g *graph.Graph) {
			layer := nn.Linear{Weight: w, Bias: b, Int8: test.allowed}
			g.Output("y", layer.Forward(g, g.Input("x", checkpoint.F32, 3, 8)))
		})
		if err != nil {
			t.Fatal(err)
		}
		prepared := 0
		for _, b := range m.Bound {
			if b.Prepare != graph.AsStored {
				prepared++
			}
		}
		if prepared != test.want {
			t.Errorf("%+v: %d weights are prepared", test, prepared)
		}
	}
}
