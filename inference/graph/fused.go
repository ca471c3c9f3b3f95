package graph

import "slices"

// LayerNormalization normalises the last axis, then scales and shifts by [D]; both may be run-time tensors, which
// makes adaptive layer norm one node. Bias may be absent.
func (g *Graph) LayerNormalization(x, scale, bias Value, eps float32) Value {
	g.wantRow("layer norm", x, scale)
	if !bias.Absent() {
		g.wantRow("layer norm", x, bias)
	}
	return g.op("LayerNormalization", "", x.DType, x.Shape, []Value{x, scale, bias}, attrInt("axis", -1), attrFloat("epsilon", eps))
}

// RMSNormalization divides by the root mean square of the last axis and scales by [D].
func (g *Graph) RMSNormalization(x, scale Value, eps float32) Value {
	g.wantRow("RMS norm", x, scale)
	return g.op("SimplifiedLayerNormalization", "", x.DType, x.Shape, []Value{x, scale},
		attrInt("axis", -1), attrFloat("epsilon", eps), attrInt("stash_type", 1))
}

func (g *Graph) wantRow(op string, x, row Value) {
	if len(row.Shape) != 1 || row.Shape[0] != x.Dim(-1) || row.DType != x.DType {
		g.fail("%s of %v with a scale or bias %v", op, x, row)
	}
}

// LinearFastGelu is the tanh approximation of GELU over x·wᵀ + bias, with x [L, in], w [out, in] and bias [out]. The bias is added
// where GELU reads the product: CUDA's Gemm would write it to the whole result first and read it back.
func (g *Graph) LinearFastGelu(x, w, bias Value) Value {
	g.wantLinear(x, w, bias)
	y := g.op("FusedMatMul", microsoft, x.DType, []int64{x.Shape[0], w.Shape[0]}, []Value{x, w}, attrInt("transB", 1))
	return g.op("FastGelu", microsoft, y.DType, y.Shape, []Value{y, bias})
}

// RotaryEmbedding turns adjacent pairs of x [B, L, heads·d] by the angles whose cosines and sines are given, one row
// [d/2] per token.
func (g *Graph) RotaryEmbedding(x, cos, sin Value, heads int64) Value {
	if len(x.Shape) != 3 || !slices.Equal(cos.Shape, []int64{x.Shape[1], x.Shape[2] / heads / 2}) || !slices.Equal(cos.Shape, sin.Shape) ||
		cos.DType != x.DType || sin.DType != x.DType {
		g.fail("rotary embedding of %v with %d heads by %v and %v", x, heads, cos, sin)
	}
	// A position of shape [1] is the row of the first token.
	return g.op("RotaryEmbedding", microsoft, x.DType, x.Shape, []Value{x, g.Int64s(0), cos, sin},
		attrInt("interleaved", 1), attrInt("num_heads", heads))
}

// MultiHeadAttention is softmax(q·kᵀ·scale + bias)·v per head, without materialising the scores where the runtime has a
// flash kernel and bias is absent. q is [B, Lq, D], k and v are [B, Lk, D], bias is [1, heads, Lq, Lk] or absent.
func (g *Graph) MultiHeadAttention(q, k, v, bias Value, heads int64, scale float32) Value {
	g.wantAttention(q, k, v, bias, heads)
	return g.op("MultiHeadAttention", microsoft, q.DType, []int64{q.Shape[0], q.Shape[1], v.Shape[2]},
		[]Value{q, k, v, {}, {}, bias}, attrInt("num_heads", heads), attrFloat("scale", scale))
}

func (g *Graph) wantAttention(q, k, v, bias Value, heads int64) {
	ok := len(q.Shape) == 3 && len(k.Shape) == 3 && len(v.Shape) == 3 &&
		q.Shape[0] == k.Shape[0] && q.Shape[0] == v.Shape[0] && k.Shape[1] == v.Shape[1] && q.Shape[2] == k.Shape[2] &&
		q.Shape[2]%heads == 0 && v.Shape[2]%heads == 0 && q.DType == k.DType && q.DType == v.DType
	if ok && !bias.Absent() {
		ok = slices.Equal(bias.Shape, []int64{1, heads, q.Shape[1], k.Shape[1]}) && bias.DType == q.DType
	}
	if !ok {
		g.fail("attention of %v on %v, %v with %d heads and bias %v", q, k, v, heads, bias)
	}
}
