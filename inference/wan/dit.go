package wan

import (
	"fmt"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// HeadDim is the width of an attention head: 128 in every published model.
const HeadDim = 128

// ContextRows is the number of text rows that the transformer attends, padding included.
const ContextRows = 512

// patch is the edge of a patch in latent pixels; patches are one frame deep.
const patch = 2

// LatentChannels is the number of channels of the VAE's latent space.
const LatentChannels = 16

// normEps is the epsilon of every norm in the blocks and the head.
const normEps = 1e-6

// DiT is HuMo's diffusion transformer: Wan 2.1's (Wan 2025, §4.2) with an audio cross-attention per block (HuMo 2025,
// §3). Reference: humo/models/wan_modules/model_humo.py.
type DiT struct {
	PatchEmbedding nn.Linear      `weight:"patch_embedding"` // weight [D, in, 1, 2, 2]
	TextIn         nn.Linear      `weight:"text_embedding.0"`
	TextOut        nn.Linear      `weight:"text_embedding.2"`
	TimeIn         nn.Linear      `weight:"time_embedding.0"`
	TimeOut        nn.Linear      `weight:"time_embedding.2"`
	TimeProjection nn.Linear      `weight:"time_projection.1"`
	AudioProjector audioProjector `weight:"audio_proj"`
	Blocks         []block        `weight:"blocks"`
	Head           head           `weight:"head"`

	Compute checkpoint.DType // of the hot arithmetic of the networks below (graph.Options.Compute); the zero value is F32
}

// LoadDiT reads the transformer's tensors off a checkpoint; every size comes from their shapes. unused lists names
// that the network does not know (the published 1.7B file holds some).
func LoadDiT(ix *checkpoint.Index) (m *DiT, unused []string, err error) {
	m = new(DiT)
	if unused, err = nn.Load(m, ix, ""); err != nil {
		return nil, nil, err
	}
	if err := m.check(ix.Path); err != nil {
		return nil, nil, err
	}
	for i := range m.Blocks {
		m.Blocks[i].allowInt8()
	}
	smallest := Grid{Frames: 1, Height: patch, Width: patch}
	return m, unused, nn.Fit(ix.Path, m.TextKeysNetwork(), m.AudioKeysNetwork(smallest.Frames),
		m.TimeNetwork(), m.StartNetwork(smallest), m.PassNetwork(smallest))
}

// check refuses shapes that the networks below would index beyond; all others are checked while a graph is built.
func (m *DiT) check(file string) error {
	for _, w := range []struct {
		weight graph.Weight
		rank   int
	}{{m.PatchEmbedding.Weight, 5}, {m.TextIn.Weight, 2}, {m.TimeIn.Weight, 2}, {m.AudioProjector.L1.Weight, 2},
		{m.AudioProjector.L3.Weight, 2}, {m.AudioProjector.Norm.Weight, 1}, {m.Blocks[0].FFNIn.Weight, 2}} {
		if len(w.weight.Shape) != w.rank || w.weight.Elements() == 0 {
			return fault.New("wrong_shape", file, "%s has the shape %v, want %d axes; this is not a HuMo checkpoint", w.weight.Name, w.weight.Shape, w.rank)
		}
	}
	if d := m.Dim(); d%HeadDim != 0 {
		return fault.New("wrong_shape", file, "patch_embedding.weight has %d rows, want a multiple of the head size %d", d, HeadDim)
	}
	if in := m.InChannels(); in != LatentChannels && in != 2*LatentChannels+4 {
		return fault.New("wrong_shape", file, "patch_embedding.weight takes %d channels, want 16 (1.7B) or 36 (17B)", in)
	}
	return nil
}

// Dim is the width D of the residual stream.
func (m *DiT) Dim() int64 { return m.PatchEmbedding.Weight.Shape[0] }

// InChannels is 16 (1.7B) or 36 (17B: latents, mask and condition latents).
func (m *DiT) InChannels() int64 { return m.PatchEmbedding.Weight.Shape[1] }

// Conditioned reports whether the model takes a mask and condition latents beside its latents (17B).
func (m *DiT) Conditioned() bool { return m.InChannels() > LatentChannels }

// TextDim is the width of a text embedding.
func (m *DiT) TextDim() int64 { return m.TextIn.In() }

// FrequencyDim is the width of the timestep's sinusoidal embedding.
func (m *DiT) FrequencyDim() int64 { return m.TimeIn.In() }

// AudioFeatures is the width of one frame's audio window, flattened: 8 rows × 5 bands × Whisper's width.
func (m *DiT) AudioFeatures() int64 { return m.AudioProjector.L1.In() }

func (m *DiT) heads() int64 { return m.Dim() / HeadDim }

// Grid is the size of a latent clip, reference frames included, in latent pixels.
type Grid struct{ Frames, Height, Width int64 }

// Tokens is the number of patches.
func (s Grid) Tokens() int64 { return s.Frames * (s.Height / patch) * (s.Width / patch) }

func (s Grid) String() string { return fmt.Sprintf("%dx%dx%d", s.Frames, s.Height, s.Width) }
