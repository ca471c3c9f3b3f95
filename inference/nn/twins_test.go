package nn_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/ort/orttest"
)

var runtime *ort.Runtime

func TestMain(m *testing.M) { orttest.Main(m, &runtime) }

// shape names an input of a layer under test.
type shape []int64

// Every fused operator must equal its decomposed twin: the twin is what the golden tests prove right by a second way.
func TestFusedEqualsDecomposed(t *testing.T) {
	const heads, l, rows, d = 3, 7, 5, 24
	rotary := shape{l, d / heads / 2}
	for _, test := range []struct {
		name   string
		inputs []shape
		build  func(g *graph.Graph, in []graph.Value) graph.Value
	}{
		{"gelu tanh", []shape{{l, d}}, func(g *graph.Graph, in []graph.Value) graph.Value { return nn.GeluTanh(g, in[0]) }},
		{"gelu", []shape{{l, d}}, func(g *graph.Graph, in []graph.Value) graph.Value { return nn.Gelu(g, in[0]) }},
		{"silu", []shape{{l, d}}, func(g *graph.Graph, in []graph.Value) graph.Value { return nn.SiLU(g, in[0]) }},
		{"adaptive layer norm", []shape{{l, d}, {d}, {d}}, func(g *graph.Graph, in []graph.Value) graph.Value {
			return nn.AdaptiveLayerNorm(g, in[0], in[1], in[2], 1e-6)
		}},
		{"rotary", []shape{{1, l, d}, rotary, rotary}, func(g *graph.Graph, in []graph.Value) graph.Value {
			return nn.Rotary(g, in[0], in[1], in[2], heads)
		}},
		{"self-attention", []shape{{1, l, d}, {1, l, d}, {1, l, d}}, func(g *graph.Graph, in []graph.Value) graph.Value {
			return nn.Attention(g, in[0], in[1], in[2], graph.Value{}, heads, 0.3)
		}},
		{"cross-attention per frame", []shape{{4, l, d}, {4, rows, d}, {4, rows, d}}, func(g *graph.Graph, in []graph.Value) graph.Value {
			return nn.Attention(g, in[0], in[1], in[2], graph.Value{}, heads, 0.3)
		}},
		{"attention with a position bias", []shape{{1, l, d}, {1, l, d}, {1, l, d}, {1, heads, l, l}}, func(g *graph.Graph, in []graph.Value) graph.Value {
			return nn.Attention(g, in[0], in[1], in[2], in[3], heads, 1)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// In 16 bits, too, the two compute the same; their results may be rounded to neighbours.
			for dtype, tolerance := range map[checkpoint.DType]float64{checkpoint.F32: 3e-6, checkpoint.F16: 0x1p-11, checkpoint.BF16: 0x1p-8} {
				n, in := network(t, test.inputs, func(g *graph.Graph, in []graph.Value) graph.Value {
					for i := range in {
						in[i] = g.ToCompute(in[i])
					}
					return g.ToFloat32(test.build(g, in))
				})
				o := ort.ChainOptions{Compute: dtype}
				fused := runWith(t, n, in, o)
				o.Decompose = true
				twin, largest := runWith(t, n, in, o), maxAbs(t, fused, make([]float32, len(fused)))
				if dtype != checkpoint.F32 {
					tolerance *= 2 * largest
				}
				if e := maxAbs(t, fused, twin); !(e <= tolerance) { // NaN is no match
					t.Errorf("%s: fused and decomposed differ by %g, want %g", dtype, e, tolerance)
				}
				if largest < 0.1 {
					t.Error("the result is next to zero: the comparison shows nothing")
				}
				if e := maxAbs(t, fused, run(t, n, in, false)); (e == 0) != (dtype == checkpoint.F32) {
					t.Errorf("%s: rounding moves the result by %g", dtype, e)
				}
			}
		})
	}
}

// network makes a one-stage network with random inputs.
func network(t *testing.T, shapes []shape, build func(*graph.Graph, []graph.Value) graph.Value) (*graph.Network, map[string]*ort.Tensor) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	n := &graph.Network{Name: "test", Outputs: []string{"y"}}
	in := map[string]*ort.Tensor{}
	var names []string
	for i, s := range shapes {
		name := fmt.Sprintf("x%d", i)
		names = append(names, name)
		n.Inputs = append(n.Inputs, graph.Port{Name: name, DType: checkpoint.F32, Shape: s})
		count := int64(1)
		for _, d := range s {
			count *= d
		}
		data := make([]float32, count)
		for k := range data {
			data[k] = float32(random.NormFloat64())
		}
		tensor, err := ort.FromFloat32s(s, data)
		if err != nil {
			t.Fatal(err)
		}
		in[name] = tensor
	}
	n.Stages = []graph.Stage{{Name: "layer", In: names, Out: []string{"y"}, Build: func(g *graph.Graph, v []graph.Value) []graph.Value {
		return []graph.Value{build(g, v)}
	}}}
	return n, in
}

func run(t *testing.T, n *graph.Network, in map[string]*ort.Tensor, decompose bool) []float32 {
	t.Helper()
	return runWith(t, n, in, ort.ChainOptions{Decompose: decompose})
}

func runWith(t *testing.T, n *graph.Network, in map[string]*ort.Tensor, o ort.ChainOptions) []float32 {
	t.Helper()
	chain, err := runtime.NewChain(n, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	}()
	results, err := chain.Run(t.Context(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := ort.Float32s(results, "y")
	if err != nil {
		t.Fatal(err)
	}
	return y
}

func maxAbs(t *testing.T, a, b []float32) float64 {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d and %d values", len(a), len(b))
	}
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i]-b[i])))
	}
	return worst
}

// At video size the scores of attention would take 40 GB: the fused form must never hold them. Here they would be 1 GB.
func TestAttentionHoldsNoScores(t *testing.T) {
	const l, d = 16384, 8
	n, in := network(t, []shape{{1, l, d}, {1, l, d}, {1, l, d}}, func(g *graph.Graph, in []graph.Value) graph.Value {
		return nn.Attention(g, in[0], in[1], in[2], graph.Value{}, 1, 0.3)
	})
	before := peakResident(t)
	run(t, n, in, false)
	if grown := peakResident(t) - before; grown > l*l*4/4 {
		t.Errorf("peak memory grew by %d MB", grown>>20)
	}
}

// peakResident is the largest resident size that the process has had, in bytes.
func peakResident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kB int64
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		t.Fatal(err)
	}
	return kB << 10
}
