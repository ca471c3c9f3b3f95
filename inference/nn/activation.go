package nn

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/graph"
)

// inFloat32 computes a fused operator's twin: like the operator, it rounds its result alone to the dtype of x.
func inFloat32(g *graph.Graph, x graph.Value, f func(x graph.Value) graph.Value) graph.Value {
	return g.Cast(f(g.ToFloat32(x)), x.DType)
}

func sqrt32(n int64) float32 { return float32(math.Sqrt(float64(n))) }

// GeluTanh is the tanh approximation of GELU (Wan, UMT5).
func GeluTanh(g *graph.Graph, x graph.Value) graph.Value {
	if !g.Decomposed() {
		return g.Gelu(x, true)
	}
	return inFloat32(g, x, func(x graph.Value) graph.Value {
		cube := g.Mul(g.Mul(x, x), x)
		inner := g.Mul(g.Add(x, g.Mul(cube, g.Scalar(0.044715))), g.Scalar(float32(math.Sqrt(2/math.Pi))))
		return g.Mul(g.Mul(x, g.Scalar(0.5)), g.Add(g.Tanh(inner), g.Scalar(1)))
	})
}

// Gelu is the exact GELU (Whisper).
func Gelu(g *graph.Graph, x graph.Value) graph.Value {
	if !g.Decomposed() {
		return g.Gelu(x, false)
	}
	return inFloat32(g, x, func(x graph.Value) graph.Value {
		return g.Mul(g.Mul(x, g.Scalar(0.5)), g.Add(g.Erf(g.Mul(x, g.Scalar(math.Sqrt2/2))), g.Scalar(1)))
	})
}

// SiLU is x·sigmoid(x).
func SiLU(g *graph.Graph, x graph.Value) graph.Value {
	if !g.Decomposed() {
		return g.SiLU(x)
	}
	return inFloat32(g, x, func(x graph.Value) graph.Value { return g.Mul(x, g.Sigmoid(x)) })
}
