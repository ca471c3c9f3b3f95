package inference

import (
	"context"
	"sync"
	"time"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// Cost is the arithmetic of a clip's denoising, which is 99 % of a clip's: passes × steps calls of the transformer.
type Cost struct {
	Passes int     // calls of the transformer in a step
	Steps  int     //
	Frames int     // of the clip, as it would be made: 4k+1
	Tokens int     // patches that a call attends, reference frames included
	FLOP   float64 // of all calls; a multiplication with an addition is two
}

// Estimate is a clip's cost and what it takes on this machine.
type Estimate struct {
	Cost
	Seconds float64 // of denoising; 0: not known
}

// Shape is the size of a transformer.
type Shape struct {
	Width, FFN, Layers int
	AudioWidth         int // of an audio token
}

// PublishedShape is that of a published variant.
func PublishedShape(v Variant) Shape {
	if v == Variant17B {
		return Shape{5120, 13824, 40, 1536}
	}
	return Shape{1536, 8960, 30, 1536}
}

// audioTokens are those of a latent frame.
const audioTokens = 16

// forward is the arithmetic of one call for L tokens in F latent frames: self-attention, cross-attention to the text's
// rows and, within each frame, to the audio's tokens, and the feed-forward network. Norms and embeddings are left out.
func (s Shape) forward(tokens, frames int) float64 {
	l, f, d, ffn := float64(tokens), float64(frames), float64(s.Width), float64(s.FFN)
	const rows = wan.ContextRows
	self := 8*l*d*d + 4*l*l*d
	text := 4*l*d*d + 4*rows*d*d + 4*l*rows*d
	audio := 4*l*d*d + 4*audioTokens*f*float64(s.AudioWidth)*d + 4*l*audioTokens*d
	return float64(s.Layers) * (self + text + audio + 4*l*d*ffn)
}

// CostOf counts what a clip costs on a transformer of a shape. s.Frames must be known.
func CostOf(s Spec, shape Shape) (Cost, error) {
	plan, err := sampler.NewPlanOf(s.Quality, s.Variant, s.Mode, sampler.DefaultScales(s.Variant))
	if err != nil {
		return Cost{}, err
	}
	frames, err := whisper.FrameCount(s.Frames, s.Frames)
	if err != nil {
		return Cost{}, err
	}
	latent := whisper.LatentFrames(frames) + max(1, len(s.ImagePaths))
	size := wan.Grid{Frames: int64(latent), Height: int64(s.Height / wan.SpatialStride), Width: int64(s.Width / wan.SpatialStride)}
	c := Cost{Passes: len(plan.Passes), Steps: s.Steps, Frames: frames, Tokens: int(size.Tokens())}
	c.FLOP = float64(c.Passes*c.Steps) * shape.forward(c.Tokens, latent)
	return c, nil
}

// Estimate says what a clip takes: on the weights that are there, else on the published ones; at the speed of the clips
// that this engine has made, and before the first one at what a short measurement of matrix products gives. No weight
// is read.
func (e *Engine) Estimate(ctx context.Context, s Spec) (Estimate, error) {
	if _, err := e.findLoRAs(&s); err != nil {
		return Estimate{}, err
	}
	shape := PublishedShape(s.Variant)
	if m, err := e.Models(s.Variant); err == nil {
		shape = m.Transformer.shape()
	}
	cost, err := CostOf(s, shape)
	if err != nil {
		return Estimate{}, err
	}
	speed, err := e.speed.get(ctx, e.rt)
	if err != nil {
		return Estimate{}, err
	}
	return Estimate{cost, cost.FLOP / speed}, nil
}

// learn notes the speed of this machine from a finished clip.
func (e *Engine) learn(s Spec, c *Clip) {
	seconds := c.Timings[StageDenoise]
	if s.Resume != nil || seconds < telling { // of a resumed clip only a part was made
		return
	}
	m, err := e.Models(s.Variant)
	if err != nil {
		return
	}
	s.Frames = c.Frames
	if cost, err := CostOf(s, m.Transformer.shape()); err == nil {
		e.speed.note(cost.FLOP, seconds)
	}
}

// telling is how long denoising must have taken to say something about the machine: a short one is mostly overhead.
const telling = 5 // seconds

// shape is that of the checkpoint.
func (t *Transformer) shape() Shape {
	return Shape{
		Width: int(t.net.Dim()), FFN: int(t.net.Blocks[0].FFNIn.Weight.Shape[0]), Layers: len(t.net.Blocks),
		AudioWidth: int(t.net.AudioProjector.Norm.Weight.Shape[0]),
	}
}

// speedometer knows how fast this machine denoises.
type speedometer struct {
	mu       sync.Mutex
	flop     float64 // of recent clips
	seconds  float64
	measured float64 // FLOP per second of bare matrix products; 0: not measured
}

// fade is what an older clip counts for when a new one is noted: machines get warm, and neighbours come and go.
const fade = 0.5

// note takes a clip's denoising into account.
func (m *speedometer) note(flop, seconds float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flop, m.seconds = fade*m.flop+flop, fade*m.seconds+seconds
}

func (m *speedometer) get(ctx context.Context, rt *ort.Runtime) (float64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seconds > 0 {
		return m.flop / m.seconds, nil
	}
	if m.measured == 0 {
		var err error
		if m.measured, err = measure(ctx, rt); err != nil {
			return 0, err
		}
	}
	return m.measured * efficiency, nil
}

// efficiency is the share of a bare matrix product's speed that a whole pass of the transformer reaches.
const efficiency = 0.8

// measure runs products of the size that a transformer's are, for a fraction of a second.
func measure(ctx context.Context, rt *ort.Runtime) (flopPerSecond float64, err error) {
	const rows, inner, columns, most, enough = 512, 1536, 1536, 50, 250 * time.Millisecond
	model, err := graph.Build("speed", graph.Options{}, func(g *graph.Graph) {
		a := g.Input("a", checkpoint.F32, rows, inner)
		b := g.Input("b", checkpoint.F32, inner, columns)
		g.Output("product", g.MatMul(a, b))
	})
	if err != nil {
		return 0, err
	}
	session, err := rt.NewSession(model, ort.SessionOptions{})
	if err != nil {
		return 0, err
	}
	defer closing(session, &err)
	a, err := ort.FromFloat32s([]int64{rows, inner}, make([]float32, rows*inner))
	if err != nil {
		return 0, err
	}
	defer closing(a, &err)
	b, err := ort.FromFloat32s([]int64{inner, columns}, make([]float32, inner*columns))
	if err != nil {
		return 0, err
	}
	defer closing(b, &err)
	run := func() error {
		out, err := session.Run(ctx, map[string]*ort.Tensor{"a": a, "b": b})
		if err != nil {
			return err
		}
		return out["product"].Close()
	}
	if err := run(); err != nil { // warms up
		return 0, err
	}
	fastest := time.Hour // the others were disturbed
	for began, n := time.Now(), 0; n < most && time.Since(began) < enough; n++ {
		start := time.Now()
		if err := run(); err != nil {
			return 0, err
		}
		fastest = min(fastest, time.Since(start))
	}
	return 2 * rows * inner * columns / fastest.Seconds(), nil
}
