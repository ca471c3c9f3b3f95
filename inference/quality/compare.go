package quality

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Options say which clip is made.
type Options struct {
	Variant       inference.Variant
	Width, Height int // multiples of 16
	Frames        int // 4k+1
	Steps         int
	Weights       string // folder in the published layout; empty: tiny ones are made, or Full ones
	Full          bool   // of the published transformer's size; Blocks of them, 0: all
	Blocks        int
}

// Row is a clip and its distance from the exact one.
type Row struct {
	Name    string           `json:"name"`
	Steps   int              `json:"steps"`
	Passes  inference.Passes `json:"passes"`
	Seconds float64          `json:"seconds,omitempty"` // of denoising
	Latents float64          `json:"latents"`           // ‖clip - exact‖ / ‖exact‖ of the final latents
	PSNR    float64          `json:"psnr,omitempty"`    // of the frames, in dB; 0: equal, or none were decoded
}

// saving is a clip to compare with the exact one.
type saving struct {
	name    string
	quality inference.Quality
	steps   func(exact int) int
}

func same(steps int) int { return steps }
func half(steps int) int { return (steps + 1) / 2 }

var savings = []saving{
	{"exact", inference.Exact, same},
	{"balanced", inference.Balanced, same},
	{"exact, half the steps", inference.Exact, half},
}

// Compare makes a clip of mode TA in all ways; the first row is the exact one. Everything it wrote is gone when it returns.
func Compare(ctx context.Context, cfg inference.Config, o Options, log zerolog.Logger) (rows []Row, err error) {
	if o.Steps < 2 || o.Blocks < 0 {
		return nil, fault.New("bad_count", "", "%d steps of %d blocks are nothing to compare; give 2 steps or more", o.Steps, o.Blocks)
	}
	if o.Weights == "" {
		folder, err := os.MkdirTemp("", "humo-quality-")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		log.Info().Str("folder", folder).Msg("Weights are being made.")
		if err := weights.WriteSynthetic(ctx, folder, o.dims()); err != nil {
			return nil, err
		}
		o.Weights = folder
	}
	cfg.Weights.Root, cfg.Cache.Folder = o.Weights, "none"
	e, err := inference.Open(cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if _, err := makeClip(ctx, e, o, saving{"", inference.Exact, func(int) int { return 1 }}); err != nil { // reads the weights
		return nil, err
	}
	var first *clip
	for _, s := range savings {
		c, err := makeClip(ctx, e, o, s)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = c
		}
		c.row.Latents, c.row.PSNR = distance(c.latents.Data, first.latents.Data), psnr(c.frames, first.frames)
		log.Info().Interface("row", c.row).Msg("A clip was made.")
		rows = append(rows, c.row)
	}
	return rows, nil
}

// dims are those of the made weights.
func (o Options) dims() weights.Dims {
	d := weights.DemoDims()
	d.PassThrough = false
	if !o.Full {
		return d
	}
	published, bench := weights.PublishedDims(), weights.BenchDims()
	d.DiT1B, d.DiT17B = published.DiT1B, nil
	if o.Variant == inference.Variant17B {
		d.DiT1B, d.DiT17B = nil, published.DiT17B
	}
	for _, t := range []*weights.DiTDims{d.DiT1B, d.DiT17B} {
		if t != nil && o.Blocks > 0 {
			t.Layers = min(t.Layers, o.Blocks)
		}
	}
	d.VAE, d.UMT5, d.Whisper = published.VAE, bench.UMT5, bench.Whisper
	return d
}

// clip is one that was made.
type clip struct {
	row     Row
	latents *inference.Latent
	frames  []byte
}

func makeClip(ctx context.Context, e *inference.Engine, o Options, how saving) (*clip, error) {
	steps := how.steps(o.Steps)
	s := inference.Spec{Variant: o.Variant, Mode: inference.TA, Quality: how.quality, Prompt: "a person speaks", Frames: o.Frames,
		Width: o.Width, Height: o.Height, FPS: fps, Steps: steps, Shift: 5, Seed: 1, ScaleT: 7.5, ScaleA: 7.5}
	if o.Variant == inference.Variant17B {
		s.ScaleT, s.ScaleA = 5, 5.5
	}
	spared := 0 // the last step, after which nothing is saved, never is
	s.SaveEvery, s.Save = 1, func(c *inference.Checkpoint) { spared = c.Reuse.Spared }
	var began time.Time
	z, err := e.Denoise(ctx, &s, &inference.Material{Wave: tone(float64(o.Frames) / fps)}, func(stage inference.Stage) func(int, int) {
		if stage == inference.StageDenoise {
			began = time.Now()
		}
		return func(int, int) {}
	})
	if err != nil {
		return nil, err
	}
	c := &clip{latents: z, row: Row{Name: how.name, Steps: steps, Seconds: time.Since(began).Seconds()}}
	cost, err := inference.CostOf(s, inference.PublishedShape(s.Variant))
	if err != nil {
		return nil, err
	}
	c.row.Passes = inference.Passes{Run: cost.Calls - spared, Reused: spared, Gated: cost.Passes*steps - cost.Calls}
	err = e.Frames(ctx, s.Variant, z, func(int, int) {}, func(rgb []byte) error {
		c.frames = append(c.frames, rgb...)
		return nil
	})
	return c, err
}

const (
	fps        = 25
	sampleRate = 16000
)

// tone is a sound that rises and falls.
func tone(seconds float64) []float32 {
	wave := make([]float32, int((seconds+1)*sampleRate))
	for i := range wave {
		t := float64(i) / sampleRate
		wave[i] = float32(math.Sin(2*math.Pi*220*t) * math.Sin(2*math.Pi*3*t) / 4)
	}
	return wave
}

// distance is ‖a - b‖ / ‖b‖.
func distance(a, b []float32) float64 {
	var d, n float64
	for i := range b {
		d += (float64(a[i]) - float64(b[i])) * (float64(a[i]) - float64(b[i]))
		n += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(d / n)
}

// psnr is the peak signal-to-noise ratio of bytes in dB; 0 if there is no noise.
func psnr(a, b []byte) float64 {
	if slices.Equal(a, b) {
		return 0
	}
	sum := 0.0
	for i := range b {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(b))/sum)
}
