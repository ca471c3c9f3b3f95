package graph

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// Reshape reads x under another shape; one size may be -1. It copies nothing at run time.
func (g *Graph) Reshape(x Value, shape ...int64) Value {
	shape = slices.Clone(shape)
	known, open := int64(1), -1
	for i, d := range shape {
		if d == -1 && open < 0 {
			open = i
			continue
		}
		known *= d
	}
	if open >= 0 && known > 0 {
		shape[open] = x.Elements() / known
	}
	if product(shape) != x.Elements() {
		g.fail("reshape of %v to %v", x, shape)
	}
	if slices.Equal(shape, x.Shape) {
		return x
	}
	return g.op("Reshape", "", x.DType, shape, []Value{x, g.Int64s(shape...)})
}

// Transpose permutes the axes: axis i of the result is axis perm[i] of x.
func (g *Graph) Transpose(x Value, perm ...int) Value {
	if len(perm) != len(x.Shape) {
		g.fail("transpose of %v by %v", x, perm)
	}
	shape, p := make([]int64, len(perm)), make([]int64, len(perm))
	for i, a := range perm {
		shape[i], p[i] = x.Shape[a], int64(a)
	}
	return g.op("Transpose", "", x.DType, shape, []Value{x}, attrInts("perm", p...))
}

// Concat joins values along axis.
func (g *Graph) Concat(axis int, values ...Value) Value {
	if len(values) == 1 {
		return values[0]
	}
	axis = g.axis(values[0], axis)
	shape := slices.Clone(values[0].Shape)
	for _, v := range values[1:] {
		for i := range v.Shape {
			if len(v.Shape) != len(shape) || v.DType != values[0].DType || i != axis && v.Shape[i] != shape[i] {
				g.fail("concat of %v and %v on axis %d", values[0], v, axis)
			}
		}
		shape[axis] += v.Shape[axis]
	}
	return g.op("Concat", "", values[0].DType, shape, values, attrInt("axis", int64(axis)))
}

// Split cuts x along axis into parts of equal size.
func (g *Graph) Split(x Value, axis, parts int) []Value {
	axis = g.axis(x, axis)
	if parts < 1 || x.Shape[axis]%int64(parts) != 0 {
		g.fail("split of %v into %d on axis %d", x, parts, axis)
	}
	if parts == 1 {
		return []Value{x}
	}
	out := make([]Value, parts)
	for i := range out {
		shape := slices.Clone(x.Shape)
		shape[axis] /= int64(parts)
		out[i] = Value{DType: x.DType, Shape: shape}
	}
	return g.opN("Split", "", []Value{x}, out, attrInt("axis", int64(axis)), attrInt("num_outputs", int64(parts)))
}

// Slice takes the elements [start, end) of axis.
func (g *Graph) Slice(x Value, axis int, start, end int64) Value {
	axis = g.axis(x, axis)
	if start < 0 || end > x.Shape[axis] || start >= end {
		g.fail("slice [%d:%d] of %v on axis %d", start, end, x, axis)
	}
	if start == 0 && end == x.Shape[axis] {
		return x
	}
	shape := slices.Clone(x.Shape)
	shape[axis] = end - start
	return g.op("Slice", "", x.DType, shape, []Value{x, g.Int64s(start), g.Int64s(end), g.Int64s(int64(axis))})
}

// Expand broadcasts x to shape.
func (g *Graph) Expand(x Value, shape ...int64) Value {
	if slices.Equal(x.Shape, shape) {
		return x
	}
	got := g.broadcast("Expand", x, Value{Shape: shape})
	if !slices.Equal(got, shape) {
		g.fail("expand of %v to %v", x, shape)
	}
	return g.op("Expand", "", x.DType, slices.Clone(shape), []Value{x, g.Int64s(shape...)})
}

// Zeros returns a float32 tensor of zeros that costs nothing in the model.
func (g *Graph) Zeros(shape ...int64) Value { return g.Expand(g.Scalar(0), shape...) }

// Gather takes rows of table: ids [...] and table [N, D] give [..., D].
func (g *Graph) Gather(table, ids Value) Value {
	if ids.DType != checkpoint.I64 && ids.DType != checkpoint.I32 || len(table.Shape) != 2 {
		g.fail("gather of %v by %v", table, ids)
	}
	return g.op("Gather", "", table.DType, append(slices.Clone(ids.Shape), table.Shape[1]), []Value{table, ids}, attrInt("axis", 0))
}

// DepthToSpace makes a block of n×n pixels of every n² channels: x [1, n²·C, H, W], (row, column) of the block before the
// channel, gives [1, C, n·H, n·W].
func (g *Graph) DepthToSpace(x Value, n int64) Value {
	if len(x.Shape) != 4 || x.Shape[1]%(n*n) != 0 {
		g.fail("depth to space of %v in blocks of %d", x, n)
	}
	shape := []int64{x.Shape[0], x.Shape[1] / (n * n), n * x.Shape[2], n * x.Shape[3]}
	return g.op("DepthToSpace", "", x.DType, shape, []Value{x}, attrInt("blocksize", n), attrText("mode", "DCR"))
}
