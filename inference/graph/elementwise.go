package graph

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// Add returns a + b with NumPy broadcasting, as do the other binary operators.
func (g *Graph) Add(a, b Value) Value { return g.binary("Add", a, b) }

// Sub returns a - b.
func (g *Graph) Sub(a, b Value) Value { return g.binary("Sub", a, b) }

// Mul returns a * b.
func (g *Graph) Mul(a, b Value) Value { return g.binary("Mul", a, b) }

// Div returns a / b.
func (g *Graph) Div(a, b Value) Value { return g.binary("Div", a, b) }

// Max returns the larger of a and b.
func (g *Graph) Max(a, b Value) Value { return g.binary("Max", a, b) }

func (g *Graph) binary(op string, a, b Value) Value {
	if a.DType != b.DType {
		g.fail("%s of %v and %v", op, a, b)
	}
	return g.op(op, "", a.DType, g.broadcast(op, a, b), []Value{a, b})
}

func (g *Graph) broadcast(op string, a, b Value) []int64 {
	long, short := a.Shape, b.Shape
	if len(long) < len(short) {
		long, short = short, long
	}
	shape := slices.Clone(long)
	for i := range short {
		at := len(long) - len(short) + i
		switch {
		case short[i] == long[at] || short[i] == 1:
		case long[at] == 1:
			shape[at] = short[i]
		default:
			g.fail("%s of %v and %v does not broadcast", op, a, b)
		}
	}
	return shape
}

func (g *Graph) unary(op, domain string, x Value, attrs ...attr) Value {
	return g.op(op, domain, x.DType, x.Shape, []Value{x}, attrs...)
}

// Sqrt returns the square root of every element.
func (g *Graph) Sqrt(x Value) Value { return g.unary("Sqrt", "", x) }

// Abs returns the magnitude of every element.
func (g *Graph) Abs(x Value) Value { return g.unary("Abs", "", x) }

// Round rounds every element to the nearest integer, to the even one between two.
func (g *Graph) Round(x Value) Value { return g.unary("Round", "", x) }

// Relu returns max(x, 0).
func (g *Graph) Relu(x Value) Value { return g.unary("Relu", "", x) }

// Sigmoid returns 1 / (1 + exp(-x)).
func (g *Graph) Sigmoid(x Value) Value { return g.unary("Sigmoid", "", x) }

// Tanh returns the hyperbolic tangent.
func (g *Graph) Tanh(x Value) Value { return g.unary("Tanh", "", x) }

// Erf returns the Gauss error function.
func (g *Graph) Erf(x Value) Value { return g.unary("Erf", "", x) }

// Gelu is the Gaussian error linear unit; tanh picks the approximation that Wan and UMT5 were trained with.
func (g *Graph) Gelu(x Value, tanh bool) Value {
	approximate := "none"
	if tanh {
		approximate = "tanh"
	}
	return g.unary("Gelu", "", x, attrText("approximate", approximate))
}

// SiLU is x * sigmoid(x), as the one fused operator that computes it.
func (g *Graph) SiLU(x Value) Value { return g.unary("QuickGelu", microsoft, x, attrFloat("alpha", 1)) }

// Clip limits every element to [low, high].
func (g *Graph) Clip(x Value, low, high float32) Value {
	return g.op("Clip", "", x.DType, x.Shape, []Value{x, g.ScalarLike(x, low), g.ScalarLike(x, high)})
}

// Cast converts x; it is free where x has the dtype already.
func (g *Graph) Cast(x Value, to checkpoint.DType) Value {
	if x.DType == to {
		return x
	}
	key := castKey{x.name, to}
	if v, ok := g.casts[key]; ok {
		return v
	}
	v := g.op("Cast", "", to, x.Shape, []Value{x}, attrInt("to", int64(onnxTypes[to])))
	g.casts[key] = v
	return v
}

// castKey makes a value that is converted twice one node.
type castKey struct {
	value string
	to    checkpoint.DType
}

// Softmax normalises over the last axis.
func (g *Graph) Softmax(x Value) Value { return g.unary("Softmax", "", x, attrInt("axis", -1)) }

// ReduceMean averages over axis, which stays with size 1.
func (g *Graph) ReduceMean(x Value, axis int) Value { return g.reduce("ReduceMean", x, axis) }

// ReduceL2 is the Euclidean norm over axis, which stays with size 1.
func (g *Graph) ReduceL2(x Value, axis int) Value { return g.reduce("ReduceL2", x, axis) }

// ReduceMax is the largest element of axis, which stays with size 1.
func (g *Graph) ReduceMax(x Value, axis int) Value { return g.reduce("ReduceMax", x, axis) }

func (g *Graph) reduce(op string, x Value, axis int) Value {
	axis = g.axis(x, axis)
	shape := slices.Clone(x.Shape)
	shape[axis] = 1
	return g.op(op, "", x.DType, shape, []Value{x, g.Int64s(int64(axis))}, attrInt("keepdims", 1))
}

func (g *Graph) axis(x Value, axis int) int {
	if axis < 0 {
		axis += len(x.Shape)
	}
	if axis < 0 || axis >= len(x.Shape) {
		g.fail("axis %d of %v", axis, x)
	}
	return axis
}
