package parity

import (
	"context"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// clipCase runs the whole pipeline from prompt, wav, pictures and given noise to frames. In 16 bits the latents may be off by
// more than frames can be; then the frames are those that the reference's latents decode to, which must be as exact as ever.
func clipCase(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	var config struct {
		Variant, Mode, Prompt, Wav string
		Width, Height, Steps       int
		Frames                     int `json:"frames_requested"`
		Shift                      float64
		NegativePrompt             string `json:"negative_prompt"`
		Scales                     scales
		Images                     []string
	}
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	v, err := variant(config.Variant)
	if err != nil {
		return nil, err
	}
	s := inference.Spec{
		Variant: v, Mode: inference.Mode(config.Mode), Prompt: config.Prompt, NegativePrompt: config.NegativePrompt,
		AudioPath: c.Path(config.Wav), Frames: config.Frames, Width: config.Width, Height: config.Height, FPS: whisper.DefaultFPS,
		Steps: config.Steps, Shift: config.Shift, ScaleT: config.Scales.Text, ScaleA: config.Scales.Audio, ScaleI: config.Scales.Image,
		StepChange: config.Scales.StepChange,
	}
	for _, image := range config.Images {
		s.ImagePaths = append(s.ImagePaths, c.Path(image))
	}
	in, err := inference.Decode(ctx, &s)
	if err != nil {
		return nil, err
	}
	if in.Noise, _, err = c.Floats("in.noise"); err != nil {
		return nil, err
	}
	ignore := func(int, int) {}
	latents, err := e.Denoise(ctx, &s, in, func(inference.Stage) func(int, int) { return ignore })
	if err != nil {
		return nil, err
	}
	decoded := latents
	if dtypeOf(e) != inference.FP32 {
		z := *latents
		if z.Data, _, err = c.Floats("out.latents"); err != nil {
			return nil, err
		}
		decoded = &z
	}
	var frames []byte
	err = e.Frames(ctx, v, decoded, ignore, func(rgb []byte) error {
		frames = append(frames, rgb...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	count := int64(wan.VideoFrames(latents.Frames))
	return outputs{
		"out.latents":   latentArray(latents),
		"out.frames_u8": golden.Bytes(frames, count, int64(s.Height), int64(s.Width), 3),
		"out.timesteps": golden.Ints(sampler.Table(s.Steps, s.Shift).Timesteps...),
	}, nil
}
