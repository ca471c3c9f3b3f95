package inference

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// MaxAudioSeconds bounds the decoded length of a voice track.
const MaxAudioSeconds = 600

// Material is what a clip is made of, decoded.
type Material struct {
	Wave     []float32        // 16 kHz mono
	Stereo   [2][]float32     // 44.1 kHz, left and right, of the same sound; with Spec.IsolateVocals only
	Pictures []*media.Picture // TIA: in the order given
	Noise    []float32        // [16, F + references, h, w]; nil: drawn from Spec.Seed
}

// Generate makes a clip. observe is called from the calling goroutine, in order, and must not block.
//
// Everything that can be wrong with the request is found before a network runs. When ctx ends, work stops within one
// operator, nothing is left behind, and the error wraps ctx's.
func (e *Engine) Generate(ctx context.Context, s Spec, observe func(Progress)) (*Clip, error) {
	c := &Clip{Path: s.OutputPath, FPS: s.FPS, Width: s.Width, Height: s.Height, Seed: s.Seed, Timings: map[Stage]float64{}}
	watch := &stopwatch{clip: c, observe: observe}
	material, err := Decode(ctx, &s)
	if err != nil {
		return nil, err
	}
	latents, err := e.Denoise(ctx, &s, material, watch.stage)
	if err != nil {
		return nil, err
	}
	c.Frames, c.LoRAs = wan.VideoFrames(latents.Frames), s.LoRAs
	c.Duration = float64(c.Frames) / float64(s.FPS)
	if err := e.write(ctx, &s, latents, c, watch); err != nil {
		return nil, err
	}
	watch.end()
	e.learn(s, c)
	return c, nil
}

// Decode reads the voice track and the pictures of a spec.
func Decode(ctx context.Context, s *Spec) (*Material, error) {
	if s.Mode == TIA && len(s.ImagePaths) == 0 {
		return nil, fault.New("images_missing", "images", "mode TIA needs 1 to 8 reference images; give some, or use mode TA")
	}
	if s.Mode == TA && len(s.ImagePaths) > 0 {
		return nil, fault.New("images_unused", "images", "mode TA uses no images; leave them out, or use mode TIA")
	}
	wave, err := media.DecodeAudio(ctx, s.AudioPath, MaxAudioSeconds)
	if err != nil {
		return nil, err
	}
	m := &Material{Wave: wave}
	if s.IsolateVocals {
		if m.Stereo[0], m.Stereo[1], err = media.DecodeStereo(ctx, s.AudioPath, MaxAudioSeconds); err != nil {
			return nil, err
		}
	}
	for _, path := range s.ImagePaths {
		p, err := media.DecodeImage(path)
		if err != nil {
			return nil, err
		}
		m.Pictures = append(m.Pictures, p)
	}
	return m, nil
}

// Denoise runs everything up to the clean latents, [16, F, h, w] without the reference frames.
func (e *Engine) Denoise(ctx context.Context, s *Spec, in *Material, observe func(Stage) func(done, total int)) (*Latent, error) {
	if s.Width < 16 || s.Height < 16 || s.Width%16 != 0 || s.Height%16 != 0 {
		return nil, fault.New("bad_size", "width", "%dx%d is not a size in multiples of 16", s.Width, s.Height)
	}
	schedule, err := sampler.NewSchedule(s.Steps, s.Shift)
	if err != nil {
		return nil, err
	}
	scales := sampler.DefaultScales(s.Variant)
	scales.Text, scales.Audio, scales.Image = s.ScaleT, s.ScaleA, s.ScaleI
	if s.StepChange > 0 {
		scales.StepChange = s.StepChange
	}
	plan, err := sampler.NewPlanOf(s.Quality, s.Variant, s.Mode, scales)
	if err != nil {
		return nil, err
	}
	frames, err := whisper.FrameCount(s.Frames, whisper.MergedFrames(whisper.AudioFrames(len(in.Wave)), s.FPS))
	if err != nil {
		return nil, err
	}
	files, err := e.findLoRAs(s)
	if err != nil {
		return nil, err
	}
	m, err := e.Models(s.Variant)
	if err != nil {
		return nil, err
	}
	if err := e.fits(m, s, frames); err != nil {
		return nil, err
	}
	dit, err := e.adapt(ctx, s, m.Transformer, files)
	if err != nil {
		return nil, err
	}
	var voices *separator
	if s.IsolateVocals {
		if voices, err = e.openSeparator(s.Variant); err != nil {
			return nil, err
		}
	}
	c, err := m.condition(ctx, s, in, frames, voices, observe)
	if err != nil {
		return nil, err
	}
	step := observe(StageDenoise)
	total := whisper.LatentFrames(frames) + c.refs.Frames
	latents := NewLatent(total, s.Height/wan.SpatialStride, s.Width/wan.SpatialStride)
	noise := in.Noise
	if noise == nil {
		noise = sampler.Noise(s.Seed, len(latents.Data))
	}
	if copy(latents.Data, noise); len(noise) != len(latents.Data) {
		return nil, fault.New("bad_noise", "noise", "the noise has %d values, this clip needs %d", len(noise), len(latents.Data))
	}
	d, err := newDenoiser(ctx, dit, plan, c, total)
	if err != nil {
		return nil, err
	}
	solver, err := s.solver(schedule, latents, in, frames)
	if err == nil {
		err = d.run(ctx, solver.UniPC, latents, step, func() { solver.after(latents, total-c.refs.Frames) })
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	return latents.Slice(0, total-c.refs.Frames), nil
}

// condition runs the encoders: text, audio, image. With voices, the audio encoder hears them alone.
func (m *Models) condition(ctx context.Context, s *Spec, in *Material, frames int, voices *separator, observe func(Stage) func(done, total int)) (c *conditions, err error) {
	c = new(conditions)
	if c.prompt, c.negative, err = m.embedPrompts(ctx, s, observe(StageText)); err != nil {
		return nil, err
	}
	features, err := m.hear(ctx, s, in, voices, observe(StageAudio))
	if err != nil {
		return nil, err
	}
	step := observe(StageImage)
	if c.refs, err = m.encodeReferences(ctx, in.Pictures, s.Width, s.Height, step); err != nil {
		return nil, err
	}
	c.windows, _ = whisper.Windows(features.Data, whisper.Bands*features.Dim, frames, c.refs.Frames)
	if m.Transformer.Conditioned() {
		c.zero, err = m.ZeroLatent(ctx, whisper.LatentFrames(frames)+c.refs.Frames, c.refs.Height, c.refs.Width)
	}
	return c, err
}

// Frames decodes latents and hands over one frame after the other, RGB bytes [H, W, 3]; the buffer is used again.
func (e *Engine) Frames(ctx context.Context, v Variant, latents *Latent, step func(done, total int), yield func(rgb []byte) error) error {
	m, err := e.Models(v)
	if err != nil {
		return err
	}
	pixels := latents.Height * wan.SpatialStride * latents.Width * wan.SpatialStride
	rgb := make([]byte, 3*pixels)
	return m.VAE.Decode(ctx, latents, func(frame []float32) error {
		for i := range pixels {
			for c := range 3 {
				rgb[3*i+c] = toByte(frame[c*pixels+i])
			}
		}
		return yield(rgb)
	}, step)
}

// toByte maps [-1, 1] to 0…255 and truncates, as the reference does.
func toByte(v float32) byte { return byte((min(max(v, -1), 1)*0.5 + 0.5) * 255) }

// write decodes latents into the mp4. ffmpeg asks for a frame when it wants one, so no more than a chunk of the clip is
// ever in memory.
func (e *Engine) write(ctx context.Context, s *Spec, latents *Latent, c *Clip, watch *stopwatch) error {
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
	video := media.VideoSpec{Width: s.Width, Height: s.Height, FPS: s.FPS, Frames: c.Frames, CRF: s.CRF, AudioPath: s.AudioPath}
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
	clip    *Clip
	observe func(Progress)
	current Stage
	began   time.Time
}

// stage ends the current stage and begins another; the result reports steps within it.
func (w *stopwatch) stage(s Stage) func(done, total int) {
	w.end()
	w.current, w.began = s, time.Now()
	w.observe(Progress{Stage: s})
	return func(done, total int) { w.observe(Progress{s, done, total}) }
}

func (w *stopwatch) end() {
	if w.current != "" {
		w.clip.Timings[w.current] += time.Since(w.began).Seconds()
		w.current = ""
	}
}
