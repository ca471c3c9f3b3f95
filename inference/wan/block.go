package wan

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// block is one transformer block: modulated self-attention with rotary positions, cross-attention to the text,
// cross-attention of each frame to its own audio tokens, and a modulated feed-forward. Reference: WanAttentionBlock.
type block struct {
	Modulation graph.Weight   `weight:"modulation"` // [1, 6, D]
	SelfAttn   selfAttention  `weight:"self_attn"`
	Norm3      nn.LayerNorm   `weight:"norm3"`
	CrossAttn  crossAttention `weight:"cross_attn"`
	AudioNorm  nn.LayerNorm   `weight:"audio_cross_attn_wrapper.norm1_audio"`
	AudioAttn  crossAttention `weight:"audio_cross_attn_wrapper.audio_cross_attn"`
	FFNIn      nn.Linear      `weight:"ffn.0"`
	FFNOut     nn.Linear      `weight:"ffn.2"`
}

func (b *block) stage(name string, heads int64) graph.Stage {
	return graph.Stage{
		Name: name,
		In:   []string{"x", "e0", "context", "audio_tokens", "rope_cos", "rope_sin"},
		Out:  []string{"x"},
		Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
			return []graph.Value{b.Forward(g, in[0], in[1], in[2], in[3], in[4], in[5], heads)}
		},
	}
}

// Forward maps x [L, D] to [L, D]: e0 is [6, D], context [rows, D], audio [F, 16, A], cos and sin [L, 64].
func (b *block) Forward(g *graph.Graph, x, e0, context, audio, cos, sin graph.Value, heads int64) graph.Value {
	d := x.Dim(-1)
	m := g.Split(g.Add(g.Weight(b.Modulation, 6, d), g.Expect(e0, 6, d)), 0, 6)
	for i := range m {
		m[i] = g.Reshape(m[i], d)
	}
	shift1, scale1, gate1, shift2, scale2, gate2 := m[0], m[1], m[2], m[3], m[4], m[5]
	one := g.Scalar(1)

	y := nn.AdaptiveLayerNorm(g, x, g.Add(scale1, one), shift1, normEps)
	y = b.SelfAttn.Forward(g, y, cos, sin, heads)
	x = g.Add(x, g.Mul(y, gate1))

	y = b.Norm3.Forward(g, x, normEps)
	y = b.CrossAttn.Forward(g, batch(g, y, 1), batch(g, context, 1), heads)
	x = g.Add(x, g.Reshape(y, x.Shape...))

	y = b.AudioNorm.Forward(g, x, normEps)
	y = b.AudioAttn.Forward(g, batch(g, y, audio.Shape[0]), audio, heads)
	x = g.Add(x, g.Reshape(y, x.Shape...))

	y = nn.AdaptiveLayerNorm(g, x, g.Add(scale2, one), shift2, normEps)
	y = b.FFNOut.Forward(g, nn.GeluTanh(g, b.FFNIn.Forward(g, y)))
	return g.Add(x, g.Mul(y, gate2))
}

// batch reads rows [n·L, D] as [n, L, D].
func batch(g *graph.Graph, x graph.Value, n int64) graph.Value {
	return g.Reshape(x, n, -1, x.Dim(-1))
}

// attention holds the projections that both kinds share. q and k are normalised over the whole width, before it is
// split into heads.
type attention struct {
	Q     nn.Linear  `weight:"q"`
	K     nn.Linear  `weight:"k"`
	V     nn.Linear  `weight:"v"`
	O     nn.Linear  `weight:"o"`
	NormQ nn.RMSNorm `weight:"norm_q"`
	NormK nn.RMSNorm `weight:"norm_k"`
}

var attentionScale = float32(1 / math.Sqrt(HeadDim))

type selfAttention struct {
	attention `weight:""`
}

// Forward lets every token attend all tokens: x [L, D].
func (a *selfAttention) Forward(g *graph.Graph, x, cos, sin graph.Value, heads int64) graph.Value {
	defer g.Enter("self_attn")()
	q := a.NormQ.Forward(g, a.Q.Forward(g, x), normEps)
	k := a.NormK.Forward(g, a.K.Forward(g, x), normEps)
	v := a.V.Forward(g, x)
	q = nn.Rotary(g, batch(g, q, 1), cos, sin, heads)
	k = nn.Rotary(g, batch(g, k, 1), cos, sin, heads)
	y := nn.Attention(g, q, k, batch(g, v, 1), graph.Value{}, heads, attentionScale)
	return a.O.Forward(g, g.Reshape(y, x.Shape...))
}

type crossAttention struct {
	attention `weight:""`
}

// Forward lets the tokens of x [B, L, D] attend the rows of context [B, rows, ·] of the same batch entry.
func (a *crossAttention) Forward(g *graph.Graph, x, context graph.Value, heads int64) graph.Value {
	defer g.Enter("cross_attn")()
	q := a.NormQ.Forward(g, a.Q.Forward(g, x), normEps)
	k := a.NormK.Forward(g, a.K.Forward(g, context), normEps)
	v := a.V.Forward(g, context)
	return a.O.Forward(g, nn.Attention(g, q, k, v, graph.Value{}, heads, attentionScale))
}

// head maps tokens to velocities. Reference: Head.
type head struct {
	Modulation graph.Weight `weight:"modulation"` // [1, 2, D]
	Linear     nn.Linear    `weight:"head"`       // [64, D]
}

// Forward maps x [L, D] to [L, 64]; e [1, D] is the time embedding before its projection.
func (h *head) Forward(g *graph.Graph, x, e graph.Value) graph.Value {
	d := x.Dim(-1)
	m := g.Split(g.Add(g.Weight(h.Modulation, 2, d), e), 0, 2)
	shift, scale := g.Reshape(m[0], d), g.Add(g.Reshape(m[1], d), g.Scalar(1))
	return h.Linear.Forward(g, nn.AdaptiveLayerNorm(g, x, scale, shift, normEps))
}
