package wan

import (
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// AudioTokens is the number of tokens that an audio window becomes.
const AudioTokens = 16

// audioNormEps is the one epsilon that differs from the other norms': PyTorch's default.
const audioNormEps = 1e-5

// audioProjector turns one latent frame's audio window into tokens. Reference: AudioProjModel (audio_proj.py).
type audioProjector struct {
	L1   nn.Linear    `weight:"audio_proj_glob_1.layer"` // [I, 8·5·C]
	L2   nn.Linear    `weight:"audio_proj_glob_2.layer"` // [I, I]
	L3   nn.Linear    `weight:"audio_proj_glob_3.layer"` // [16·A, I]
	Norm nn.LayerNorm `weight:"audio_proj_glob_norm.layer"`
}

// width is A, the width of a token.
func (p *audioProjector) width() int64 { return p.Norm.Weight.Shape[0] }

// Forward maps windows [F, 8·5·C] to tokens [F, 16, A].
func (p *audioProjector) Forward(g *graph.Graph, windows graph.Value) graph.Value {
	x := g.Relu(p.L1.Forward(g, windows))
	x = g.Relu(p.L2.Forward(g, x))
	x = g.Reshape(p.L3.Forward(g, x), windows.Shape[0], AudioTokens, p.width())
	return p.Norm.Forward(g, x, audioNormEps)
}
