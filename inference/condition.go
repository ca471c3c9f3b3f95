package inference

import (
	"context"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// maskChannels precede the condition latents in the 17B's input: 1 on reference frames, 0 elsewhere.
const maskChannels = 4

// encodeReferences encodes pictures of the clip's size, each alone, in the order given: one latent frame a picture. Without pictures there is one frame of zeros, which the network was trained to see as "none".
func (m *Models) encodeReferences(ctx context.Context, pictures []*media.Picture, width, height int, step func(done, total int)) (*Latent, error) {
	refs := NewLatent(max(1, len(pictures)), height/wan.SpatialStride, width/wan.SpatialStride)
	for i, p := range pictures {
		step(i, len(pictures))
		z, err := m.VAE.Encode(ctx, media.Normalize(p.RGB, width, height), 1, height, width)
		if err != nil {
			return nil, err
		}
		refs.Paste(i, z, 0, 1)
	}
	step(len(pictures), len(pictures))
	return refs, nil
}

// ZeroLatent is the encoding of a mid-grey clip, [16, frames, h, w]: what the 17B is shown where there is no picture. A
// published file serves if its size fits and it is long enough; a longer clip's first frames are the same, because the VAE is
// causal. Other sizes are encoded here; the reference refuses them.
func (m *Models) ZeroLatent(ctx context.Context, frames, height, width int) (*Latent, error) {
	for _, file := range m.Files.ZeroVAE {
		z, err := readZeroLatent(file, frames, height, width)
		if err != nil {
			return nil, err
		}
		if z != nil {
			return z, nil
		}
	}
	return m.VAE.EncodeZeros(ctx, wan.VideoFrames(frames), height*wan.SpatialStride, width*wan.SpatialStride)
}

// readZeroLatent reads a published file, a bare tensor [16, F, h, w]; nil if it does not fit.
func readZeroLatent(file string, frames, height, width int) (*Latent, error) {
	ix, err := checkpoint.Open(file)
	if err != nil {
		return nil, err
	}
	t, ok := ix.Tensors[""]
	if !ok || len(t.Shape) != 4 || t.Shape[0] != wan.LatentChannels {
		return nil, fault.New("wrong_shape", filepath.Base(file), "%s does not hold one tensor [16, frames, height, width]; fetch it again", file)
	}
	if t.Shape[1] < int64(frames) || t.Shape[2] != int64(height) || t.Shape[3] != int64(width) {
		return nil, nil
	}
	data, err := t.Float32()
	if err != nil {
		return nil, err
	}
	all := &Latent{int(t.Shape[1]), height, width, data}
	return all.Slice(0, frames), nil
}

// conditionChannels is the 17B's y, [20, F, h, w]: the mask, then zero-clip latents whose last frames are the references'; with
// refs nil they are the zero clip's throughout (y_null). The mask marks the reference frames either way.
func conditionChannels(zero *Latent, refs *Latent, references int) []float32 {
	frame := zero.Height * zero.Width
	y := make([]float32, maskChannels*zero.Frames*frame, (maskChannels+wan.LatentChannels)*zero.Frames*frame)
	for c := range maskChannels {
		for i := (zero.Frames - references) * frame; i < zero.Frames*frame; i++ {
			y[c*zero.Frames*frame+i] = 1
		}
	}
	z := zero
	if refs != nil {
		z = zero.Slice(0, zero.Frames)
		z.Paste(zero.Frames-references, refs, 0, references)
	}
	return append(y, z.Data...)
}
