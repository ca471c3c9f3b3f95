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
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/sampler"
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

// Row is a clip and its distance from another one.
type Row struct {
	Name    string           `json:"name"`
	Against string           `json:"against,omitempty"` // the row it is compared with; empty: the exact one, or none
	Steps   int              `json:"steps"`
	Passes  inference.Passes `json:"passes"`
	Seconds float64          `json:"seconds,omitempty"` // of denoising
	Latents float64          `json:"latents"`           // ‖clip - other‖ / ‖other‖ of the final latents
	PSNR    float64          `json:"psnr,omitempty"`    // of the frames, in dB; 0: equal, or none were decoded
}

// saving is a clip to compare with the exact one, or with another.
type saving struct {
	name    string
	quality inference.Quality
	steps   func(exact int) int
	fast    bool   // as a fast clip is made, but without the adapter: there is none for the 1.7B, and none at hand
	int8    bool   // with linear layers in 8 bits, which is for fast clips only
	against string // name of a row before; its own: nothing
}

func same(steps int) int { return steps }
func half(steps int) int { return (steps + 1) / 2 }
func few(steps int) int  { return min(steps, sampler.FastSteps) }

const exactly, fast = "exact", "fast, without its LoRA"

var savings = []saving{
	{name: exactly, quality: inference.Exact, steps: same, against: exactly},
	{name: "balanced", quality: inference.Balanced, steps: same, against: exactly},
	{name: "exact, half the steps", quality: inference.Exact, steps: half, against: exactly},
	{name: fast, steps: few, fast: true, against: fast},
	{name: "the same in 8 bits", steps: few, fast: true, int8: true, against: fast},
}

// onePass makes of a plan what it is for a fast clip: the pass with all conditions, without guidance.
func onePass(p *sampler.Plan) {
	last := slices.IndexFunc(p.Passes, func(x sampler.Pass) bool { return x.Text == sampler.Prompt && x.Audio })
	p.Passes, p.Sum, p.Late = p.Passes[last:last+1], sampler.Sum{}, sampler.Sum{}
	p.Quality, p.Gate, p.Threshold = sampler.Fast, 0, 0
}

// Compare makes a clip of mode TA in all ways; the first row is the exact one, the last one that of layers in 8 bits. Everything it wrote is gone when it returns.
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
	warm := saving{quality: inference.Exact, steps: func(int) int { return 1 }}
	if _, err := makeClip(ctx, e, o, warm); err != nil { // reads the weights
		return nil, err
	}
	made := map[string]*clip{}
	for _, s := range savings {
		if s.int8 && !ort.Int8Exact() {
			log.Warn().Msg("This processor has no VNNI instructions: layers in 8 bits are left out.")
			continue
		}
		c, err := makeClip(ctx, e, o, s)
		if err != nil {
			return nil, err
		}
		made[s.name] = c
		other := made[s.against]
		if s.against != exactly && s.against != s.name {
			c.row.Against = s.against
		}
		c.row.Latents, c.row.PSNR = golden.RelativeL2(c.latents.Data, other.latents.Data), psnr(c.frames, other.frames)
		if s.int8 && c.row.Latents == 0 {
			return nil, fault.New("no_int8", "", "there is not enough memory for the copies of the weights in 8 bits; give fewer --blocks")
		}
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
	var guide func(*sampler.Plan)
	if how.fast {
		guide = onePass
	}
	e.Measure(guide, how.int8)
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
	if how.fast {
		c.row.Passes = inference.Passes{Run: steps}
	}
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
