package inference

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/plan"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// Generate makes a clip. observe is called from the calling goroutine, in order, and must not block.
//
// Everything that can be wrong with the request is found before a network runs. When ctx ends, work stops within one
// operator, nothing is left behind, and the error wraps ctx's.
func (e *Engine) Generate(ctx context.Context, s Spec, observe func(Progress)) (*Clip, error) {
	began := time.Now()
	c := &Clip{Path: s.OutputPath, FPS: s.FPS, Width: s.Width, Height: s.Height, Seed: s.Seed, Timings: map[Stage]float64{}}
	watch := &stopwatch{clip: c, observe: observe, computing: e.rt.Busy}
	material, err := s.material(ctx)
	if err != nil {
		return nil, err
	}
	latents, how, err := e.denoise(ctx, &s, material, watch.stage)
	if err != nil {
		return nil, err
	}
	c.Passes, c.Linear, c.Frames, c.LoRAs = how.passes, how.linear, wan.VideoFrames(latents.Frames), s.LoRAs
	c.Duration = float64(c.Frames) / float64(s.FPS)
	if err := e.write(ctx, &s, material.Audio, latents, c, watch); err != nil {
		return nil, err
	}
	watch.end()
	c.Seconds = time.Since(began).Seconds()
	e.learn(s, c)
	return c, nil
}

// Denoise runs everything up to the clean latents, [16, F, h, w] without the reference frames.
func (e *Engine) Denoise(ctx context.Context, s *Spec, in *Material, observe func(Stage) func(done, total int)) (*Latent, error) {
	z, _, err := e.denoise(ctx, s, in, observe)
	return z, err
}

// record says how latents were made.
type record struct {
	passes Passes
	linear Linear
}

func (e *Engine) denoise(ctx context.Context, s *Spec, in *Material, observe func(Stage) func(done, total int)) (z *Latent, how record, err error) {
	if s.Width < 16 || s.Height < 16 || s.Width%16 != 0 || s.Height%16 != 0 {
		return nil, how, fault.New("bad_size", "width", "%dx%d is not a size in multiples of 16", s.Width, s.Height)
	}
	schedule, err := sampler.NewSchedule(s.Steps, s.Shift)
	if err != nil {
		return nil, how, err
	}
	scales := sampler.DefaultScales(s.Variant)
	scales.Text, scales.Audio, scales.Image = s.ScaleT, s.ScaleA, s.ScaleI
	if s.StepChange > 0 {
		scales.StepChange = s.StepChange
	}
	guidance, err := sampler.NewPlanOf(s.Quality, s.Variant, s.Mode, scales)
	if err != nil {
		return nil, how, err
	}
	if e.guide != nil {
		e.guide(guidance)
	}
	frames, err := whisper.FrameCount(s.Frames, whisper.MergedFrames(whisper.AudioFrames(len(in.Wave)), s.FPS))
	if err != nil {
		return nil, how, err
	}
	files, err := e.findLoRAs(s)
	if err != nil {
		return nil, how, err
	}
	m, err := e.Models(s.Variant)
	if err != nil {
		return nil, how, err
	}
	job := plan.Job{Width: s.Width, Height: s.Height, Frames: frames, References: len(s.ImagePaths)}
	way, err := e.plan(m, job)
	if err != nil {
		return nil, how, err
	}
	dit, err := e.adapt(ctx, s, m.Transformer, files)
	if err != nil {
		return nil, how, err
	}
	if how.linear, way, err = e.linear(m, dit, guidance.Quality, job, way); err != nil {
		return nil, how, err
	}
	dit = dit.In(how.linear)
	voices, err := e.separate(ctx, s, in.Audio, hearing(len(in.Wave), s.FPS, frames).samples)
	if err != nil {
		return nil, how, err
	}
	end, err := e.begin(ctx, way)
	if err != nil {
		return nil, how, err
	}
	defer func() { err = errors.Join(err, end()) }()
	c, err := m.condition(ctx, s, in, guidance, frames, voices, observe, func(stage string) error { return e.leave(way, stage) })
	if err != nil {
		return nil, how, err
	}
	step := observe(StageDenoise)
	total := whisper.LatentFrames(frames) + c.refs.Frames
	latents := NewLatent(total, s.Height/wan.SpatialStride, s.Width/wan.SpatialStride)
	noise := in.Noise
	if noise == nil {
		noise = sampler.Noise(s.Seed, len(latents.Data))
	}
	if copy(latents.Data, noise); len(noise) != len(latents.Data) {
		return nil, how, fault.New("bad_noise", "noise", "the noise has %d values, this clip needs %d", len(noise), len(latents.Data))
	}
	d, err := newDenoiser(ctx, dit, e.devices, guidance, c, total)
	if err != nil {
		return nil, how, err
	}
	solver, err := s.solver(guidance, schedule, latents, in, frames, how.linear.DType)
	if err == nil {
		err = d.run(ctx, solver, latents, step, func() { solver.after(latents, total-c.refs.Frames) })
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, how, err
	}
	how.passes = solver.passes()
	return latents.Slice(0, total-c.refs.Frames), how, nil
}

// condition runs the encoders: text, audio, image. With voices, the audio encoder hears them alone. ended is called after
// each of these stages.
func (m *Models) condition(ctx context.Context, s *Spec, in *Material, guidance *sampler.Plan, frames int, voices *separator,
	observe func(Stage) func(done, total int), ended func(stage string) error) (c *conditions, err error) {
	c = new(conditions)
	if c.prompt, c.negative, err = m.embedPrompts(ctx, s, guidance, observe(StageText)); err != nil {
		return nil, err
	}
	if err := ended(plan.StageText); err != nil {
		return nil, err
	}
	features, err := m.hear(ctx, s, in, frames, voices, observe(StageAudio))
	if err != nil {
		return nil, err
	}
	if err := ended(plan.StageAudio); err != nil {
		return nil, err
	}
	step := observe(StageImage)
	if c.refs, err = m.encodeReferences(ctx, in.Pictures, s.Width, s.Height, step); err != nil {
		return nil, err
	}
	c.windows, _ = whisper.Windows(features.Data, whisper.Bands*features.Dim, frames, c.refs.Frames)
	if m.Transformer.Conditioned() {
		if c.zero, err = m.ZeroLatent(ctx, whisper.LatentFrames(frames)+c.refs.Frames, c.refs.Height, c.refs.Width); err != nil {
			return nil, err
		}
	}
	return c, ended(plan.StageImage)
}

// Frames decodes latents and hands over one frame after the other, RGB bytes [H, W, 3], valid until yield returns.
func (e *Engine) Frames(ctx context.Context, v Variant, latents *Latent, step func(done, total int), yield func(rgb []byte) error) (err error) {
	m, err := e.Models(v)
	if err != nil {
		return err
	}
	if !e.devices[0].mapped {
		job := plan.Job{Width: latents.Width * wan.SpatialStride, Height: latents.Height * wan.SpatialStride, Frames: wan.VideoFrames(latents.Frames)}
		way, err := e.plan(m, job)
		if err != nil {
			return err
		}
		end, err := e.begin(ctx, way)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	return m.VAE.Decode(ctx, latents, yield, step)
}

// write decodes latents into the mp4. ffmpeg asks for a frame when it wants one, so no more than a chunk of the clip is
// ever in memory.
func (e *Engine) write(ctx context.Context, s *Spec, audio *media.Audio, latents *Latent, c *Clip, watch *stopwatch) error {
	step := watch.stage(StageDecode)
	next, stop := iter.Pull2(func(yield func([]byte, error) bool) {
		err := e.Frames(ctx, s.Variant, latents, step, func(rgb []byte) error {
			if !yield(rgb, nil) {
				return errWriterGone
			}
			return nil
		})
		if err != nil && !errors.Is(err, errWriterGone) {
			yield(nil, err)
		}
	})
	defer stop()
	video := media.VideoSpec{Width: s.Width, Height: s.Height, FPS: s.FPS, Frames: c.Frames, CRF: s.CRF, AudioPath: s.AudioPath, Audio: audio}
	return media.WriteMP4(ctx, s.OutputPath, video, func() ([]byte, error) {
		rgb, err, more := next()
		if !more {
			watch.stage(StageEncode) // what is left of the encoder's work
			return nil, io.EOF
		}
		return rgb, err
	})
}

var errWriterGone = errors.New("the mp4 writer asks for no more frames")

// stopwatch reports progress and measures stages.
type stopwatch struct {
	clip      *Clip
	observe   func(Progress)
	computing func() time.Duration // of ONNX Runtime, up to now

	current  Stage
	began    time.Time
	computed time.Duration // when it began
}

// stage ends the current stage and begins another; the result reports steps within it.
func (w *stopwatch) stage(s Stage) func(done, total int) {
	w.end()
	w.current, w.began, w.computed = s, time.Now(), w.computing()
	w.observe(Progress{Stage: s})
	return func(done, total int) { w.observe(Progress{s, done, total}) }
}

func (w *stopwatch) end() {
	if w.current != "" {
		w.clip.Timings[w.current] += time.Since(w.began).Seconds()
		w.clip.Compute += (w.computing() - w.computed).Seconds()
		w.current = ""
	}
}
