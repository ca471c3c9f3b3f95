package wan

import (
	"fmt"
	"math"
	"slices"

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

// allowInt8 lets the layers that run for every token of every pass be computed in 8 bits. Those of the text and the audio run once
// for a clip, and all passes read what they leave.
func (b *block) allowInt8() {
	for _, l := range []*nn.Linear{&b.SelfAttn.Q, &b.SelfAttn.K, &b.SelfAttn.V, &b.SelfAttn.O, &b.CrossAttn.Q, &b.CrossAttn.O,
		&b.AudioAttn.Q, &b.AudioAttn.O, &b.FFNIn, &b.FFNOut} {
		l.Int8 = true
	}
}

// keys are the values that a block's cross-attentions attend. They depend on nothing that changes from step to step.
type keys struct{ k, v graph.Value } // [B, rows, D] each, k normalised

// stage is block i of a network whose keys are ready.
func (b *block) stage(i int, heads int64) graph.Stage {
	return graph.Stage{
		Name: blockName(i),
		In:   slices.Concat([]string{"x", "e0"}, keyNames(i, "text"), keyNames(i, "audio"), []string{"rope_cos", "rope_sin"}),
		Out:  []string{"x"},
		Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
			first, second := b.modulations(g, in[1])
			x := b.attendSelf(g, in[0], first, in[6], in[7], heads)
			return []graph.Value{b.attendConditions(g, x, second, keys{in[2], in[3]}, keys{in[4], in[5]}, heads)}
		},
	}
}

// startedStage is what is left of block i after its self-attention.
func (b *block) startedStage(i int, heads int64) graph.Stage {
	return graph.Stage{
		Name: blockName(i),
		In:   slices.Concat([]string{"x", "e0"}, keyNames(i, "text"), keyNames(i, "audio")),
		Out:  []string{"x"},
		Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
			_, second := b.modulations(g, in[1])
			return []graph.Value{b.attendConditions(g, in[0], second, keys{in[2], in[3]}, keys{in[4], in[5]}, heads)}
		},
	}
}

func blockName(i int) string { return fmt.Sprintf("blocks.%d", i) }

// keyNames name the keys and the values of block i for "text" or "audio".
func keyNames(i int, of string) []string {
	return []string{fmt.Sprintf("blocks.%d.%s_k", i, of), fmt.Sprintf("blocks.%d.%s_v", i, of)}
}

// A block maps the residual stream x [L, D] to [L, D] in two parts, of which the first knows neither text nor audio. The stream,
// its norms, the modulations and the rotary tables cos and sin [L, 64] are float32, as in the reference; layers and attention run
// in the graph's compute dtype.

// attendSelf is the first part: the self-attention.
func (b *block) attendSelf(g *graph.Graph, x graph.Value, m modulation, cos, sin graph.Value, heads int64) graph.Value {
	y := g.ToCompute(nn.AdaptiveLayerNorm(g, x, g.Add(m.scale, g.Scalar(1)), m.shift, normEps))
	y = g.ToFloat32(b.SelfAttn.Forward(g, y, cos, sin, heads))
	return g.Add(x, g.Mul(y, m.gate))
}

// attendConditions is the second part: the cross-attentions to the text and to the audio, and the feed-forward.
func (b *block) attendConditions(g *graph.Graph, x graph.Value, m modulation, text, audio keys, heads int64) graph.Value {
	y := g.ToCompute(b.Norm3.Forward(g, x, normEps))
	y = g.ToFloat32(b.CrossAttn.Forward(g, batch(g, y, 1), text, heads))
	x = g.Add(x, g.Reshape(y, x.Shape...))

	y = g.ToCompute(b.AudioNorm.Forward(g, x, normEps))
	y = g.ToFloat32(b.AudioAttn.Forward(g, batch(g, y, audio.k.Shape[0]), audio, heads))
	x = g.Add(x, g.Reshape(y, x.Shape...))

	y = g.ToCompute(nn.AdaptiveLayerNorm(g, x, g.Add(m.scale, g.Scalar(1)), m.shift, normEps))
	y = g.ToFloat32(b.feedForward(g, y, feedForwardRows))
	return g.Add(x, g.Mul(y, m.gate))
}

// feedForwardRows is the most rows that pass the feed-forward network at once. Its inner values, which are three to six times as wide
// as the stream, would be half of all that a pass holds in memory; products of so many rows are as fast as larger ones.
const feedForwardRows = 2048

// feedForward maps each row of x [L, D] by itself, so many at once: the same bits as all at once.
func (b *block) feedForward(g *graph.Graph, x graph.Value, most int64) graph.Value {
	rows := x.Dim(0)
	n := (rows + most - 1) / most
	parts := make([]graph.Value, n)
	for i := range n {
		parts[i] = b.FFNOut.Forward(g, b.FFNIn.GeluTanh(g, g.Slice(x, 0, rows*i/n, rows*(i+1)/n)))
	}
	return g.Concat(0, parts...)
}

// modulation is what the timestep does to one part of a block, [D] each.
type modulation struct{ shift, scale, gate graph.Value }

// modulations are those of both parts, of e0 [6, D].
func (b *block) modulations(g *graph.Graph, e0 graph.Value) (first, second modulation) {
	d := e0.Dim(-1)
	m := g.Split(g.Add(g.Weight(b.Modulation, 6, d), g.Expect(e0, 6, d)), 0, 6)
	for i := range m {
		m[i] = g.Reshape(m[i], d)
	}
	return modulation{m[0], m[1], m[2]}, modulation{m[3], m[4], m[5]}
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
	q = a.turn(g, q, cos, sin, heads)
	k = a.turn(g, k, cos, sin, heads)
	y := nn.Attention(g, q, k, batch(g, v, 1), graph.Value{}, heads, attentionScale)
	return a.O.Forward(g, g.Reshape(y, x.Shape...))
}

// turn gives the rows of x [L, D] their positions, in float32.
func (a *selfAttention) turn(g *graph.Graph, x, cos, sin graph.Value, heads int64) graph.Value {
	return g.ToCompute(nn.Rotary(g, batch(g, g.ToFloat32(x), 1), cos, sin, heads))
}

type crossAttention struct {
	attention `weight:""`
}

// Keys are what Forward attends for context [B, rows, ·].
func (a *crossAttention) Keys(g *graph.Graph, context graph.Value) keys {
	defer g.Enter("cross_attn")()
	return keys{a.NormK.Forward(g, a.K.Forward(g, context), normEps), a.V.Forward(g, context)}
}

// Forward lets the tokens of x [B, L, D] attend the rows of the same batch entry.
func (a *crossAttention) Forward(g *graph.Graph, x graph.Value, context keys, heads int64) graph.Value {
	defer g.Enter("cross_attn")()
	q := a.NormQ.Forward(g, a.Q.Forward(g, x), normEps)
	return a.O.Forward(g, nn.Attention(g, q, context.k, context.v, graph.Value{}, heads, attentionScale))
}

// head maps tokens to velocities. Reference: Head.
type head struct {
	Modulation graph.Weight `weight:"modulation"` // [1, 2, D]
	Linear     nn.Linear    `weight:"head"`       // [64, D]
}

// Forward maps x [L, D] to [L, 64], in float32 throughout; e [1, D] is the time embedding before its projection.
func (h *head) Forward(g *graph.Graph, x, e graph.Value) graph.Value {
	d := x.Dim(-1)
	m := g.Split(g.Add(g.Weight(h.Modulation, 2, d), e), 0, 2)
	shift, scale := g.Reshape(m[0], d), g.Add(g.Reshape(m[1], d), g.Scalar(1))
	return h.Linear.Forward(g, nn.AdaptiveLayerNorm(g, x, scale, shift, normEps))
}
