package graph

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// MatMul multiplies the last two axes; the leading axes of a and b broadcast.
func (g *Graph) MatMul(a, b Value) Value {
	if len(a.Shape) < 2 || len(b.Shape) < 2 || a.Dim(-1) != b.Dim(-2) || a.DType != b.DType {
		g.fail("matmul of %v and %v", a, b)
	}
	lead := g.broadcast("MatMul", Value{Shape: a.Shape[:len(a.Shape)-2]}, Value{Shape: b.Shape[:len(b.Shape)-2]})
	return g.op("MatMul", "", a.DType, append(lead, a.Dim(-2), b.Dim(-1)), []Value{a, b})
}

// Linear is x·wᵀ + bias with x [L, in] and w [out, in] as PyTorch stores it; bias [out] may be absent. It is one Gemm, which
// reads the weight as it lies in the file.
func (g *Graph) Linear(x, w, bias Value) Value {
	g.wantLinear(x, w, bias)
	return g.op("Gemm", "", x.DType, []int64{x.Shape[0], w.Shape[0]}, []Value{x, w, bias}, attrInt("transB", 1))
}

func (g *Graph) wantLinear(x, w, bias Value) {
	if len(x.Shape) != 2 || len(w.Shape) != 2 || x.Shape[1] != w.Shape[1] || x.DType != w.DType {
		g.fail("linear of %v by %v", x, w)
	}
	if !bias.Absent() && !slices.Equal(bias.Shape, w.Shape[:1]) {
		g.fail("linear by %v has bias %v", w, bias)
	}
}

// LinearInt8 is (x-128)·w, each column times its scale, in float32: x [L, in] is uint8, w [in, out] int8, scales is [out]. Sums
// are exact.
func (g *Graph) LinearInt8(x, w, scales Value) Value {
	if len(x.Shape) != 2 || len(w.Shape) != 2 || x.Shape[1] != w.Shape[0] || x.DType != checkpoint.U8 || w.DType != checkpoint.I8 ||
		!slices.Equal(scales.Shape, w.Shape[1:]) {
		g.fail("linear of %v by %v with scales %v", x, w, scales)
	}
	zero := g.constant(checkpoint.U8, nil, []byte{128})
	return g.op("MatMulIntegerToFloat", microsoft, checkpoint.F32, []int64{x.Shape[0], w.Shape[1]}, []Value{x, w, g.Scalar(1), scales, zero})
}

// ConvOptions are the settings of a convolution; empty slices mean 1 (strides) and 0 (padding).
type ConvOptions struct {
	Strides []int64 // one per spatial axis
	Pads    []int64 // begins of all axes, then ends
}

// Conv convolves x [B, C, spatial…] with w [O, C, kernel…]; bias [O] may be absent.
func (g *Graph) Conv(x, w, bias Value, o ConvOptions) Value {
	axes := len(x.Shape) - 2
	if axes < 1 || len(w.Shape) != len(x.Shape) || x.Shape[1] != w.Shape[1] || x.DType != w.DType {
		g.fail("convolution of %v by %v", x, w)
	}
	if !bias.Absent() && !slices.Equal(bias.Shape, w.Shape[:1]) {
		g.fail("convolution by %v has bias %v", w, bias)
	}
	strides, pads := o.Strides, o.Pads
	if len(strides) == 0 {
		strides = slices.Repeat([]int64{1}, axes)
	}
	if len(pads) == 0 {
		pads = make([]int64, 2*axes)
	}
	if len(strides) != axes || len(pads) != 2*axes {
		g.fail("convolution of %v with strides %v and pads %v", x, strides, pads)
	}
	shape := []int64{x.Shape[0], w.Shape[0]}
	for i := range axes {
		in := x.Shape[2+i] + pads[i] + pads[axes+i]
		if in < w.Shape[2+i] {
			g.fail("convolution of %v by %v: kernel exceeds the input", x, w)
		}
		shape = append(shape, (in-w.Shape[2+i])/strides[i]+1)
	}
	return g.op("Conv", "", x.DType, shape, []Value{x, w, bias},
		attrInts("kernel_shape", w.Shape[2:]...), attrInts("strides", strides...), attrInts("pads", pads...))
}
