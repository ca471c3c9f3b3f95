package nn

import (
	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Attention is softmax(q·kᵀ·scale + bias)·v for each of the heads that split the last axis: q [B, Lq, D], k and v
// [B, Lk, D], bias [1, heads, Lq, Lk] or absent; the result is [B, Lq, D]. The fused form holds no Lq×Lk scores when bias
// is absent (Dao et al. 2022). In 16 bits no kernel that is fused takes a bias on every card: there the scores are written out, in
// float32, and bias may be float32 too.
func Attention(g *graph.Graph, q, k, v, bias graph.Value, heads int64, scale float32) graph.Value {
	dtype := q.DType
	if !g.Decomposed() && (bias.Absent() || dtype == checkpoint.F32) {
		return g.MultiHeadAttention(q, k, v, bias, heads, scale)
	}
	q, k, v = g.ToFloat32(q), g.ToFloat32(k), g.ToFloat32(v)
	b, lq, lk := q.Shape[0], q.Shape[1], k.Shape[1]
	d, dv := q.Shape[2]/heads, v.Shape[2]/heads
	q = g.Transpose(g.Reshape(q, b, lq, heads, d), 0, 2, 1, 3)  // [B, heads, Lq, d]
	k = g.Transpose(g.Reshape(k, b, lk, heads, d), 0, 2, 3, 1)  // [B, heads, d, Lk]
	v = g.Transpose(g.Reshape(v, b, lk, heads, dv), 0, 2, 1, 3) // [B, heads, Lk, dv]
	scores := g.Mul(g.MatMul(q, k), g.Scalar(scale))            // [B, heads, Lq, Lk]
	if !bias.Absent() {
		scores = g.Add(scores, g.ToFloat32(bias))
	}
	out := g.MatMul(g.Softmax(scores), v) // [B, heads, Lq, dv]
	return g.Cast(g.Reshape(g.Transpose(out, 0, 2, 1, 3), b, lq, heads*dv), dtype)
}

// Rotary turns adjacent pairs of every head of x [B, L, heads·d] by per-token angles: cos and sin are [L, d/2] (Su et al.
// 2021). x has the dtype of the tables.
func Rotary(g *graph.Graph, x, cos, sin graph.Value, heads int64) graph.Value {
	if !g.Decomposed() {
		return g.RotaryEmbedding(x, cos, sin, heads)
	}
	b, l, pairs := x.Shape[0], x.Shape[1], cos.Shape[1]
	halves := g.Split(g.Reshape(x, b, l, heads, pairs, 2), 4, 2)
	re, im := g.Reshape(halves[0], b, l, heads, pairs), g.Reshape(halves[1], b, l, heads, pairs)
	cos, sin = g.Reshape(cos, l, 1, pairs), g.Reshape(sin, l, 1, pairs)
	turnedRe := g.Sub(g.Mul(re, cos), g.Mul(im, sin))
	turnedIm := g.Add(g.Mul(re, sin), g.Mul(im, cos))
	both := g.Concat(4, g.Reshape(turnedRe, b, l, heads, pairs, 1), g.Reshape(turnedIm, b, l, heads, pairs, 1))
	return g.Reshape(both, x.Shape...)
}
