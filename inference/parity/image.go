package parity

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// vaeEncodeCase encodes the clip's first frames: out.latent_N is of N frames.
func vaeEncodeCase(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	m, err := e.Models(inference.Variant1B)
	if err != nil {
		return nil, err
	}
	video, shape, err := c.Floats("in.video")
	if err != nil {
		return nil, err
	}
	out := outputs{}
	for name := range c.Index.Tensors {
		var n int
		if _, err := fmt.Sscanf(name, "out.latent_%d", &n); err != nil {
			continue
		}
		z, err := m.VAE.Encode(ctx, firstFrames(video, shape, n), n, int(shape[2]), int(shape[3]))
		if err != nil {
			return nil, err
		}
		out[name] = latentArray(z)
	}
	return out, nil
}

// vaeDecodeCase decodes the first latent frames: out.video_N is of N of them.
func vaeDecodeCase(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	m, err := e.Models(inference.Variant1B)
	if err != nil {
		return nil, err
	}
	z, shape, err := c.Floats("in.z")
	if err != nil {
		return nil, err
	}
	all := &inference.Latent{Frames: int(shape[1]), Height: int(shape[2]), Width: int(shape[3]), Data: z}
	out := outputs{}
	for name, t := range c.Index.Tensors {
		var n int
		if _, err := fmt.Sscanf(name, "out.video_%d", &n); err != nil {
			continue
		}
		var frames [][]float32
		err := m.VAE.DecodeFloats(ctx, all.Slice(0, n), func(frame []float32) error {
			frames = append(frames, clamped(frame))
			return nil
		}, func(int, int) {})
		if err != nil {
			return nil, err
		}
		out[name] = golden.Floats(channelsFirst(frames), 3, int64(len(frames)), t.Shape[2], t.Shape[3])
	}
	return out, nil
}

func clamped(frame []float32) []float32 {
	out := slices.Clone(frame)
	for i, v := range out {
		out[i] = min(max(v, -1), 1)
	}
	return out
}

// firstFrames cuts [3, n, H, W] from [3, T, H, W].
func firstFrames(video []float32, shape []int64, n int) []float32 {
	frame := int(shape[2] * shape[3])
	var out []float32
	for c := range int(shape[0]) {
		start := c * int(shape[1]) * frame
		out = append(out, video[start:start+n*frame]...)
	}
	return out
}

// channelsFirst turns frames of [3, H, W] into [3, T, H, W].
func channelsFirst(frames [][]float32) []float32 {
	var out []float32
	for c := range 3 {
		for _, f := range frames {
			out = append(out, f[c*len(f)/3:(c+1)*len(f)/3]...)
		}
	}
	return out
}

func latentArray(z *inference.Latent) golden.Array {
	return golden.Floats(z.Data, wan.LatentChannels, int64(z.Frames), int64(z.Height), int64(z.Width))
}

// zeroLatentCase reads the published encodings of a mid-grey clip, and computes one of a size that has no file.
func zeroLatentCase(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	type clip struct {
		HeightWidth [2]int `json:"height_width"`
		Frames      int
	}
	var config struct {
		A     clip `json:"zero_vae_129frame.pt"`
		B     clip `json:"zero_vae_720p_161frame.pt"`
		Other clip
	}
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	m, err := e.Models(inference.Variant17B)
	if err != nil {
		return nil, err
	}
	out := outputs{}
	const first = 6
	for label, k := range map[string]clip{"480": config.A, "720": config.B} {
		frames := 1 + (k.Frames-1)/4
		z, err := m.ZeroLatent(ctx, frames, k.HeightWidth[0]/8, k.HeightWidth[1]/8)
		if err != nil {
			return nil, err
		}
		out["out.file_"+label+"_first6"] = latentArray(z.Slice(0, first))
		last := z.Slice(frames-1, frames)
		out["out.file_"+label+"_last"] = golden.Floats(last.Data, wan.LatentChannels, int64(last.Height), int64(last.Width))
	}
	z, err := m.ZeroLatent(ctx, 1+(config.Other.Frames-1)/4, config.Other.HeightWidth[0]/8, config.Other.HeightWidth[1]/8)
	if err != nil {
		return nil, err
	}
	out["out.other"] = latentArray(z)
	return out, nil
}

// letterboxCase fits pictures: out.NAME_WxH_u8 is the bytes, out.NAME_WxH the normalised tensor.
func letterboxCase(ctx context.Context, _ *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct{ Images []struct{ File string } }
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	pictures := map[string]*media.Picture{}
	for _, image := range config.Images {
		p, err := media.DecodeImage(ctx, c.Path(image.File))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", image.File, err)
		}
		pictures[strings.TrimSuffix(filepath.Base(image.File), filepath.Ext(image.File))] = p
	}
	out := outputs{}
	for name := range c.Index.Tensors {
		stem, bytesWanted := strings.CutSuffix(strings.TrimPrefix(name, "out."), "_u8")
		at := strings.LastIndexByte(stem, '_')
		var w, h int
		if at < 0 || pictures[stem[:at]] == nil {
			continue
		}
		if _, err := fmt.Sscanf(stem[at+1:], "%dx%d", &w, &h); err != nil {
			continue
		}
		rgb := media.Letterbox(pictures[stem[:at]], w, h)
		if bytesWanted {
			out[name] = golden.Bytes(rgb, int64(h), int64(w), 3)
		} else {
			out[name] = golden.Floats(media.Normalize(rgb, w, h), 3, 1, int64(h), int64(w))
		}
	}
	return out, nil
}
