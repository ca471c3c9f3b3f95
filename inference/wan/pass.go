package wan

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// A forward pass is three networks, since the passes of a step differ in less than all: TimeNetwork depends on the timestep alone,
// StartNetwork also on the latents, which most passes have in common, and only PassNetwork on the text and the audio. Run one
// after the other they do what one network would, to the bit.
//
// The first two are a single stage each: so their weights stay on the device where those of the blocks are streamed
// (ort.ChainOptions.Groups), and are not brought there again for each step.

// TimeNetwork embeds a timestep: "time" [1, freq dim] (TimestepEmbedding) gives "e" [1, D], which the head reads, and "e0" [6, D],
// which the blocks read.
func (m *DiT) TimeNetwork() *graph.Network {
	return &graph.Network{
		Name:    "dit_time",
		Inputs:  []graph.Port{float32Port("time", 1, m.FrequencyDim())},
		Outputs: []string{"e", "e0"},
		Stages:  []graph.Stage{{Name: "time_embedding", In: []string{"time"}, Out: []string{"e", "e0"}, Build: m.embedTime}},
	}
}

// StartNetwork is a pass at a fixed size up to where block 0 attends the text: "latents" [in, F, h, w], "e0" of TimeNetwork, and
// "rope_cos" and "rope_sin" [tokens, 64] (RotaryTables) give "x" [tokens, D], float32.
func (m *DiT) StartNetwork(size Grid) *graph.Network {
	return &graph.Network{
		Name: "dit_start",
		Inputs: slices.Concat([]graph.Port{
			float32Port("latents", m.InChannels(), size.Frames, size.Height, size.Width),
			float32Port("e0", 6, m.Dim()),
		}, rotaryPorts(size)),
		Outputs: []string{"x"},
		Stages: []graph.Stage{{Name: "start", In: []string{"latents", "e0", "rope_cos", "rope_sin"}, Out: []string{"x"},
			Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
				b := &m.Blocks[0]
				first, _ := b.modulations(g, in[1])
				return []graph.Value{b.attendSelf(g, m.patchify(g, in[0]), first, in[2], in[3], m.heads())}
			}}},
	}
}

// PassNetwork is the rest of a pass: "x", "e" and "e0" of the networks above, the rotary tables, and every result of
// TextKeysNetwork and AudioKeysNetwork give "velocity" [16, F, h, w].
func (m *DiT) PassNetwork(size Grid) *graph.Network {
	n := &graph.Network{
		Name: "dit",
		Inputs: slices.Concat([]graph.Port{
			float32Port("x", size.Tokens(), m.Dim()),
			float32Port("e", 1, m.Dim()),
			float32Port("e0", 6, m.Dim()),
		}, rotaryPorts(size)),
		Outputs: []string{"velocity"},
	}
	for i := range m.Blocks {
		for _, name := range keyNames(i, "text") {
			n.Inputs = append(n.Inputs, graph.Port{Name: name, DType: graph.ComputeType(m.Compute), Shape: []int64{1, ContextRows, m.Dim()}})
		}
		for _, name := range keyNames(i, "audio") {
			n.Inputs = append(n.Inputs, graph.Port{Name: name, DType: graph.ComputeType(m.Compute), Shape: []int64{size.Frames, AudioTokens, m.Dim()}})
		}
		if i == 0 {
			n.Stages = append(n.Stages, m.Blocks[i].startedStage(i, m.heads()))
		} else {
			n.Stages = append(n.Stages, m.Blocks[i].stage(i, m.heads()))
		}
	}
	n.Stages = append(n.Stages, graph.Stage{Name: "head", In: []string{"x", "e"}, Out: []string{"velocity"},
		Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
			return []graph.Value{unpatchify(g, m.Head.Forward(g, in[0], in[1]), size)}
		}})
	return n
}

// BlockNetwork is block i alone, its keys included: "x" [tokens, D], "e0" [6, D], "context" [rows, D], "audio_tokens" [F, 16, A]
// and the rotary tables give "x".
func (m *DiT) BlockNetwork(i int, size Grid, rows int64) *graph.Network {
	b := &m.Blocks[i]
	return &graph.Network{
		Name: "dit_block",
		Inputs: slices.Concat([]graph.Port{
			float32Port("x", size.Tokens(), m.Dim()),
			float32Port("e0", 6, m.Dim()),
			float32Port("context", rows, m.Dim()),
			float32Port("audio_tokens", size.Frames, AudioTokens, m.AudioProjector.width()),
		}, rotaryPorts(size)),
		Outputs: []string{"x"},
		Stages: []graph.Stage{
			keysStage(&b.CrossAttn, "context", keyNames(i, "text")),
			keysStage(&b.AudioAttn, "audio_tokens", keyNames(i, "audio")),
			b.stage(i, m.heads()),
		},
	}
}

func float32Port(name string, shape ...int64) graph.Port {
	return graph.Port{Name: name, DType: checkpoint.F32, Shape: shape}
}

func rotaryPorts(size Grid) []graph.Port {
	return []graph.Port{float32Port("rope_cos", size.Tokens(), HeadDim/2), float32Port("rope_sin", size.Tokens(), HeadDim/2)}
}

// embedTime maps the sinusoid [1, freq] to e [1, D] and e0 [6, D], in float32.
func (m *DiT) embedTime(g *graph.Graph, in []graph.Value) []graph.Value {
	e := m.TimeOut.Forward(g, nn.SiLU(g, m.TimeIn.Forward(g, in[0])))
	e0 := m.TimeProjection.Forward(g, nn.SiLU(g, e))
	return []graph.Value{e, g.Reshape(e0, 6, m.Dim())}
}

// patchify cuts latents [in, F, h, w] into 2×2 patches ordered frame, row, column and embeds them: [tokens, D]. The
// convolution's kernel equals its stride, so it is one linear layer over (channel, row, column).
func (m *DiT) patchify(g *graph.Graph, latents graph.Value) graph.Value {
	defer g.Enter("patch_embedding")()
	c, f, h, w := latents.Shape[0], latents.Shape[1], latents.Shape[2]/patch, latents.Shape[3]/patch
	x := g.Reshape(latents, c, f, h, patch, w, patch)
	x = g.Reshape(g.Transpose(x, 1, 2, 4, 0, 3, 5), f*h*w, c*patch*patch)
	return g.ToFloat32(m.PatchEmbedding.Patches(g, g.ToCompute(x)))
}

// unpatchify puts tokens [tokens, 64] back in place: [16, F, h, w]. A token's 64 values are ordered row, column, channel,
// channel fastest, unlike the patch embedding's.
func unpatchify(g *graph.Graph, x graph.Value, size Grid) graph.Value {
	x = g.Reshape(x, size.Frames, size.Height/patch, size.Width/patch, patch, patch, LatentChannels)
	x = g.Transpose(x, 5, 0, 1, 3, 2, 4)
	return g.Reshape(x, LatentChannels, size.Frames, size.Height, size.Width)
}
