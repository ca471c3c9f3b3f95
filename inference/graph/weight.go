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
)

type weightKey struct {
	tensor *checkpoint.Tensor
	shape  string
	stored bool
}

type initializer struct {
	name     string
	dtype    checkpoint.DType
	shape    []int64
	raw      []byte
	external *checkpoint.Tensor
}

// Weight returns w as float32, widened in the graph if it is stored in 16 bits. A shape may be given under which
// the same bytes are read ([O,C,3,3,3] as [O,3C,3,3]).
func (g *Graph) Weight(w Weight, as ...int64) Value {
	v := g.Cast(g.StoredWeight(w, as...), checkpoint.F32)
	for _, d := range w.Deltas {
		if !slices.Equal(d.Shape, w.Shape) {
			g.fail("%s%v cannot be added to %s%v", d.Name, d.Shape, w.Name, w.Shape)
		}
		delta := g.Cast(g.StoredWeight(Weight{Tensor: d.Tensor}, v.Shape...), checkpoint.F32)
		v = g.Add(v, g.Mul(delta, g.Scalar(d.Scale)))
	}
	return v
}

// StoredWeight returns w in the dtype it is stored in, without its deltas: for tables of which a graph reads a few rows.
func (g *Graph) StoredWeight(w Weight, as ...int64) Value {
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
	key := weightKey{w.Tensor, fmt.Sprint(shape), true}
	if v, ok := g.weights[key]; ok {
		return v
	}
	var v Value
	switch g.opts.Weights {
	case Bound:
		v = Value{"w" + strconv.Itoa(len(g.bound)), w.DType, shape}
		g.bound = append(g.bound, BoundWeight{Port{v.name, w.DType, shape}, w.Tensor})
	default:
		if !w.Contiguous() {
			g.fail("%s is a strided view and cannot be external data", w.Name)
		}
		v = Value{"w" + strconv.Itoa(len(g.inits)), w.DType, shape}
		g.inits = append(g.inits, initializer{name: v.name, dtype: w.DType, shape: shape, external: w.Tensor})
	}
	g.weights[key] = v
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
	g.constants[key] = v
	return v
}
