package wan

import (
	"github.com/humo-worker/humo-worker/inference/graph"
)

// TextKeysNetwork prepares a text for the blocks, once for all passes and steps: "text" [512, text dim], short texts padded with
// zero rows, gives for each block i "blocks.i.text_k" and "blocks.i.text_v", [1, 512, D] in m.Compute. The padded rows become
// a constant that is attended, as in the reference.
func (m *DiT) TextKeysNetwork() *graph.Network {
	n := &graph.Network{
		Name:   "dit_text",
		Inputs: []graph.Port{float32Port("text", ContextRows, m.TextDim())},
		Stages: []graph.Stage{{Name: "text_embedding", In: []string{"text"}, Out: []string{"context"},
			Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
				x := m.TextOut.Forward(g, m.TextIn.GeluTanh(g, g.ToCompute(in[0])))
				return []graph.Value{batch(g, x, 1)}
			}}},
	}
	for i := range m.Blocks {
		addKeys(n, &m.Blocks[i].CrossAttn, "context", keyNames(i, "text"))
	}
	return n
}

// AudioKeysNetwork prepares audio windows likewise: "audio" [F, 8·5·C] gives "blocks.i.audio_k" and "blocks.i.audio_v", [F, 16,
// D] in m.Compute.
func (m *DiT) AudioKeysNetwork(frames int64) *graph.Network {
	n := m.AudioNetwork(frames)
	n.Outputs = nil
	n.Stages[0].Build = func(g *graph.Graph, in []graph.Value) []graph.Value {
		return []graph.Value{m.AudioProjector.Forward(g, g.ToCompute(in[0]))}
	}
	for i := range m.Blocks {
		addKeys(n, &m.Blocks[i].AudioAttn, "audio_tokens", keyNames(i, "audio"))
	}
	return n
}

// AudioNetwork only projects audio windows: "audio" [F, 8·5·C] to "audio_tokens" [F, 16, A], float32.
func (m *DiT) AudioNetwork(frames int64) *graph.Network {
	return &graph.Network{
		Name:    "dit_audio",
		Inputs:  []graph.Port{float32Port("audio", frames, m.AudioFeatures())},
		Outputs: []string{"audio_tokens"},
		Stages: []graph.Stage{{Name: "audio_proj", In: []string{"audio"}, Out: []string{"audio_tokens"},
			Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
				return []graph.Value{g.ToFloat32(m.AudioProjector.Forward(g, g.ToCompute(in[0])))}
			}}},
	}
}

// addKeys adds the stage that computes a cross-attention's keys of the value context, and makes them results.
func addKeys(n *graph.Network, a *crossAttention, context string, names []string) {
	n.Stages = append(n.Stages, keysStage(a, context, names))
	n.Outputs = append(n.Outputs, names...)
}

// keysStage reads context [B, rows, ·] or, where there is one batch entry, [rows, ·].
func keysStage(a *crossAttention, context string, names []string) graph.Stage {
	return graph.Stage{Name: names[0], In: []string{context}, Out: names, Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
		x := g.ToCompute(in[0])
		if len(x.Shape) == 2 {
			x = batch(g, x, 1)
		}
		k := a.Keys(g, x)
		return []graph.Value{k.k, k.v}
	}}
}
