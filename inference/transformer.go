package inference

import (
	"context"
	"errors"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// Transformer runs HuMo's DiT.
type Transformer struct {
	rt        *ort.Runtime
	ix        *checkpoint.Index
	net       *wan.DiT
	decompose bool
}

// OpenTransformer reads the names of the checkpoint; weights stay in their files.
func OpenTransformer(rt *ort.Runtime, checkpointFile string) (*Transformer, []string, error) {
	ix, err := checkpoint.Open(checkpointFile)
	if err != nil {
		return nil, nil, err
	}
	net, unused, err := wan.LoadDiT(ix)
	if err != nil {
		return nil, nil, err
	}
	return &Transformer{rt: rt, ix: ix, net: net}, unused, nil
}

// Conditioned reports whether the model takes a mask and condition latents beside its latents (17B).
func (t *Transformer) Conditioned() bool { return t.net.Conditioned() }

// EmbedText prepares a prompt for the blocks: [512, D]. The caller closes the result.
func (t *Transformer) EmbedText(ctx context.Context, text *TextEmbedding) (*ort.Tensor, error) {
	padded := make([]float32, wan.ContextRows*int(t.net.TextDim()))
	copy(padded, text.Data)
	in, err := ort.FromFloat32s([]int64{wan.ContextRows, t.net.TextDim()}, padded)
	if err != nil {
		return nil, err
	}
	return t.once(ctx, t.net.TextNetwork(), map[string]*ort.Tensor{"text": in}, "context")
}

// EmbedAudio prepares audio windows [frames, 8, 5, C] for the blocks: [frames, 16, A]. The caller closes the result.
func (t *Transformer) EmbedAudio(ctx context.Context, windows []float32, frames int) (*ort.Tensor, error) {
	in, err := ort.FromFloat32s([]int64{int64(frames), t.net.AudioFeatures()}, windows)
	if err != nil {
		return nil, err
	}
	return t.once(ctx, t.net.AudioNetwork(int64(frames)), map[string]*ort.Tensor{"audio": in}, "audio_tokens")
}

// once builds, runs and frees a network that is needed once per clip, and returns its one result.
func (t *Transformer) once(ctx context.Context, n *graph.Network, in map[string]*ort.Tensor, result string) (out *ort.Tensor, err error) {
	chain, err := t.rt.NewChain(n, ort.ChainOptions{Decompose: t.decompose})
	if err != nil {
		return nil, err
	}
	defer closing(chain, &err)
	results, err := chain.Run(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	return results[result], nil
}

// Forward is the transformer at one size, ready to run. It may be used by one goroutine at a time.
type Forward struct {
	t        *Transformer
	size     wan.Grid
	chain    *ort.Chain
	cos, sin *ort.Tensor
}

// Prepare builds the graph of one size and its sessions.
func (t *Transformer) Prepare(size wan.Grid) (*Forward, error) {
	chain, err := t.rt.NewChain(t.net.Network(size), ort.ChainOptions{Join: true, Decompose: t.decompose})
	if err != nil {
		return nil, err
	}
	cos, sin, err := rotaryTensors(size)
	if err != nil {
		return nil, errors.Join(err, chain.Close())
	}
	return &Forward{t: t, size: size, chain: chain, cos: cos, sin: sin}, nil
}

func rotaryTensors(size wan.Grid) (cos, sin *ort.Tensor, err error) {
	c, s := wan.RotaryTables(size)
	shape := []int64{size.Tokens(), wan.HeadDim / 2}
	if cos, err = ort.FromFloat32s(shape, c); err != nil {
		return nil, nil, err
	}
	sin, err = ort.FromFloat32s(shape, s)
	return cos, sin, err
}

// Run predicts the velocity [16, F, h, w] of latents [in, F, h, w] at a timestep, with the results of EmbedText and
// EmbedAudio as conditions. Ending ctx stops it within one operator.
func (f *Forward) Run(ctx context.Context, latents []float32, timestep int64, text, audio *ort.Tensor) ([]float32, error) {
	x, err := ort.FromFloat32s([]int64{f.t.net.InChannels(), f.size.Frames, f.size.Height, f.size.Width}, latents)
	if err != nil {
		return nil, err
	}
	dim := f.t.net.FrequencyDim()
	time, err := ort.FromFloat32s([]int64{1, dim}, wan.TimestepEmbedding(timestep, dim))
	if err != nil {
		return nil, err
	}
	results, err := f.chain.Run(ctx, map[string]*ort.Tensor{"latents": x, "time": time, "context": text,
		"audio_tokens": audio, "rope_cos": f.cos, "rope_sin": f.sin}, nil)
	if err != nil {
		return nil, err
	}
	return ort.Float32s(results, "velocity")
}

// Block runs block i alone: x is [tokens, D], e0 [6, D], context [rows, D] and audio [F, 16, A]. It serves the golden tests.
func (t *Transformer) Block(ctx context.Context, i int, size wan.Grid, x, e0, text, audio *ort.Tensor) (*ort.Tensor, error) {
	cos, sin, err := rotaryTensors(size)
	if err != nil {
		return nil, err
	}
	return t.once(ctx, t.net.BlockNetwork(i, size, text.Shape()[0]), map[string]*ort.Tensor{"x": x, "e0": e0, "context": text,
		"audio_tokens": audio, "rope_cos": cos, "rope_sin": sin}, "x")
}

// Close frees the sessions.
func (f *Forward) Close() error { return f.chain.Close() }
