package graph

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// Weight is a parameter of a network: a tensor of a checkpoint. A missing optional weight is nil.
type Weight struct {
	*checkpoint.Tensor
	Deltas []Delta // what an adapter adds to it; most weights have none
}

// Delta is a tensor of a weight's shape that is added to it, Scale times, while the graph runs.
type Delta struct {
	*checkpoint.Tensor
	Scale float32
}

// Present reports whether the checkpoint holds the weight.
func (w Weight) Present() bool { return w.Tensor != nil }

// WeightMode says how weights enter a model.
type WeightMode uint8

const (
	// External points initializers into the checkpoint files; ONNX Runtime maps them. Weights must be contiguous.
	External WeightMode = iota
	// Bound makes each weight an input. Stages of equal structure then have equal models and share one session,
	// and a 16-bit weight is widened only while its stage runs.
	Bound
	// Converted makes each weight an input in the dtype that the graph computes with it: whoever binds it converts the
	// tensor, once. BoundWeight.Port.DType may differ from BoundWeight.Tensor.DType.
	Converted
)

type weightKey struct {
	tensor  *checkpoint.Tensor
	shape   string
	dtype   checkpoint.DType // of the port or initializer
	prepare Preparation
}

type initializer struct {
	name     string
	dtype    checkpoint.DType
	shape    []int64
	raw      []byte
	external *checkpoint.Tensor
}

// Weight returns w as float32. A shape may be given under which the same bytes are read ([O,C,3,3,3] as [O,3C,3,3]).
func (g *Graph) Weight(w Weight, as ...int64) Value { return g.WeightIn(checkpoint.F32, w, as...) }

// WeightIn is Weight in the given dtype, cast in the graph if it is stored in another one and weights are not Converted.
// What an adapter adds is added in float32.
func (g *Graph) WeightIn(dtype checkpoint.DType, w Weight, as ...int64) Value {
	v := g.weight(dtype, w, as)
	if len(w.Deltas) == 0 {
		return v
	}
	v = g.ToFloat32(v)
	for _, d := range w.Deltas {
		if !slices.Equal(d.Shape, w.Shape) {
			g.fail("%s%v cannot be added to %s%v", d.Name, d.Shape, w.Name, w.Shape)
		}
		delta := g.ToFloat32(g.weight(dtype, Weight{Tensor: d.Tensor}, v.Shape))
		v = g.Add(v, g.Mul(delta, g.Scalar(d.Scale)))
	}
	return g.Cast(v, dtype)
}

// weight is w without its deltas, in the given dtype.
func (g *Graph) weight(dtype checkpoint.DType, w Weight, as []int64) Value {
	if g.opts.Weights == Converted {
		return g.entry(dtype, w, as)
	}
	return g.Cast(g.StoredWeight(w, as...), dtype)
}

// StoredWeight returns w in the dtype it is stored in, without its deltas: for tables of which a graph reads a few rows.
func (g *Graph) StoredWeight(w Weight, as ...int64) Value {
	if !w.Present() {
		g.fail("weight was never loaded")
	}
	return g.entry(w.DType, w, as)
}

// entry is the input or the initializer that brings w into the graph.
func (g *Graph) entry(dtype checkpoint.DType, w Weight, as []int64) Value {
	if !w.Present() {
		g.fail("weight was never loaded")
	}
	shape := slices.Clone(w.Shape)
	if len(as) > 0 {
		if product(as) != w.Elements() {
			g.fail("%s: cannot read %v as %v", w.Name, w.Shape, as)
		}
		shape = slices.Clone(as)
	}
	return g.enter(w, weightKey{w.Tensor, fmt.Sprint(shape), dtype, AsStored}, shape)
}

// Int8Weight is the matrix w [out, in], without its deltas, in 8 bits: columns are int8 [in, out], to be multiplied by scales
// [out]. See Int8Columns.
func (g *Graph) Int8Weight(w Weight) (columns, scales Value) {
	if !w.Present() || len(w.Shape) != 2 || g.opts.Weights != Converted {
		g.fail("%v cannot be bound in 8 bits", w.Tensor)
	}
	out, in := w.Shape[0], w.Shape[1]
	columns = g.enter(w, weightKey{w.Tensor, "", checkpoint.I8, Int8Columns}, []int64{in, out})
	scales = g.enter(w, weightKey{w.Tensor, "", checkpoint.F32, Int8Scales}, []int64{out})
	return columns, scales
}

// enter adds the weight that the key tells from others, under the given shape.
func (g *Graph) enter(w Weight, key weightKey, shape []int64) Value {
	if v, ok := g.weights[key]; ok {
		return v
	}
	dtype := key.dtype
	var v Value
	switch g.opts.Weights {
	case Bound, Converted:
		v = Value{"w" + strconv.Itoa(len(g.bound)), dtype, shape}
		g.bound = append(g.bound, BoundWeight{Port{v.name, dtype, shape}, w.Tensor, key.prepare})
	default:
		if !w.Contiguous() {
			g.fail("%s is a strided view and cannot be external data", w.Name)
		}
		v = Value{"w" + strconv.Itoa(len(g.inits)), dtype, shape}
		g.inits = append(g.inits, initializer{name: v.name, dtype: dtype, shape: shape, external: w.Tensor})
	}
	g.weights[key] = g.known(v)
	return v
}

// Float32s returns a small constant.
func (g *Graph) Float32s(shape []int64, data ...float32) Value {
	return g.constant(checkpoint.F32, shape, float32Bytes(data))
}

// Int64s returns a constant vector.
func (g *Graph) Int64s(data ...int64) Value {
	return g.constant(checkpoint.I64, []int64{int64(len(data))}, int64Bytes(data))
}

// Scalar returns a float32 constant of rank 0.
func (g *Graph) Scalar(x float32) Value { return g.Float32s(nil, x) }

// ScalarLike is Scalar in the dtype of x, rounded.
func (g *Graph) ScalarLike(x Value, number float32) Value {
	if !Half(x.DType) {
		return g.Scalar(number)
	}
	bits := float16Bits(number)
	if x.DType == checkpoint.BF16 {
		bits = bfloat16Bits(number)
	}
	return g.constant(x.DType, nil, []byte{byte(bits), byte(bits >> 8)})
}

// constant embeds data in the model; equal constants are stored once.
func (g *Graph) constant(dtype checkpoint.DType, shape []int64, raw []byte) Value {
	if int64(len(raw)) != product(shape)*dtype.Size() {
		g.fail("constant of %d bytes for %s%v", len(raw), dtype, shape)
	}
	key := fmt.Sprint(dtype, shape, ":", string(raw))
	if v, ok := g.constants[key]; ok {
		return v
	}
	v := Value{"c" + strconv.Itoa(len(g.constants)), dtype, slices.Clone(shape)}
	g.inits = append(g.inits, initializer{name: v.name, dtype: dtype, shape: v.Shape, raw: raw})
	g.constants[key] = g.known(v)
	return v
}
