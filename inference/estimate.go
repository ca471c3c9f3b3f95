package inference

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// Cost is the arithmetic of a clip's denoising, which is 99 % of a clip's: passes × steps calls of the transformer.
type Cost struct {
	Passes int     // calls of the transformer in a step, at most
	Steps  int     //
	Calls  int     // in all steps; Balanced may get by with fewer, which only its denoising shows
	Frames int     // of the clip, as it would be made: 4k+1
	Tokens int     // patches that a call attends, reference frames included
	FLOP   float64 // of all calls; a multiplication with an addition is two

	layers float64       // of FLOP, that of the layers that INT8 is for
	turns  [maxLanes]int // calls one after the other on 1, 2, … devices
}

// maxLanes is how many passes a plan has at most, and so how many devices can share one's work.
const maxLanes = 4

// Estimate is a clip's cost and what it takes on this machine.
type Estimate struct {
	Cost
	Seconds float64 // of denoising; 0: not known
	Linear  Linear  // as it would be made now: what memory is free decides as well
	Machine Machine // that it is for
}

// Shape is the size of a transformer.
type Shape struct {
	Width, FFN, Layers int
}

// PublishedShape is that of a published variant.
func PublishedShape(v Variant) Shape {
	if v == Variant17B {
		return Shape{5120, 13824, 40}
	}
	return Shape{1536, 8960, 30}
}

// PassFLOP is the arithmetic of one call for so many tokens: self-attention, cross-attention to the text's rows and to the
// audio's tokens of the same frame, and the feed-forward network. Norms, embeddings, and the keys and values of text and
// audio, which are made once per clip, are left out.
func (s Shape) PassFLOP(tokens int) float64 {
	l, d := float64(tokens), float64(s.Width)
	attention := 4 * l * (l + wan.ContextRows + wan.AudioTokens) * d
	return s.layersFLOP(tokens) + float64(s.Layers)*attention
}

// layersFLOP is that of its linear layers: four of the self-attention, two of each cross-attention, two of the feed-forward network.
func (s Shape) layersFLOP(tokens int) float64 {
	l, d, ffn := float64(tokens), float64(s.Width), float64(s.FFN)
	return float64(s.Layers) * (16*l*d*d + 4*l*d*ffn)
}

// CostOf counts what a clip costs on a transformer of a shape. s.Frames must be known.
func CostOf(s Spec, shape Shape) (Cost, error) {
	guidance, err := sampler.NewPlanOf(s.Quality, s.Variant, s.Mode, sampler.DefaultScales(s.Variant))
	if err != nil {
		return Cost{}, err
	}
	frames, err := whisper.FrameCount(s.Frames, s.Frames)
	if err != nil {
		return Cost{}, err
	}
	latent := whisper.LatentFrames(frames) + max(1, len(s.ImagePaths))
	size := wan.Grid{Frames: int64(latent), Height: int64(s.Height / wan.SpatialStride), Width: int64(s.Width / wan.SpatialStride)}
	schedule := sampler.Table(max(1, s.Steps), s.Shift)
	c := Cost{Passes: len(guidance.Passes), Steps: s.Steps, Calls: guidance.Calls(schedule, 1), Frames: frames, Tokens: int(size.Tokens())}
	c.FLOP = float64(c.Calls) * shape.PassFLOP(c.Tokens)
	c.layers = float64(c.Calls) * shape.layersFLOP(c.Tokens)
	for lanes := range c.turns {
		c.turns[lanes] = guidance.Calls(schedule, lanes+1)
	}
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
	m, missing := e.Models(s.Variant)
	if missing == nil {
		shape = m.Transformer.Shape()
	}
	cost, err := CostOf(s, shape)
	if err != nil {
		return Estimate{}, err
	}
	estimate := Estimate{Cost: cost, Machine: e.Machine()}
	if missing == nil {
		job := plan.Job{Width: s.Width, Height: s.Height, Frames: cost.Frames, References: len(s.ImagePaths)}
		if way, err := e.plan(m, job); err == nil { // else the clip is refused, which is not told here
			if estimate.Linear, _, err = e.linear(m, m.Transformer, s.Quality, job, way); err != nil {
				return Estimate{}, err
			}
		}
	}
	speed, err := e.rate(ctx, estimate.Linear)
	if err != nil {
		return Estimate{}, err
	}
	estimate.Seconds = cost.on(len(e.devices), estimate.Linear) / speed
	return estimate, nil
}

// on is the arithmetic that one of several devices does, the one with most: of passes side by side as many count as run
// one after the other. That of layers in 8 bits counts as what is done in float32 in the same time.
func (c Cost) on(devices int, l Linear) float64 {
	flop := c.FLOP
	if l.DType == INT8 {
		flop -= c.layers * (1 - int8Time)
	}
	return flop * float64(c.turns[min(devices, maxLanes)-1]) / float64(c.Calls)
}

// int8Time is what a layer takes in 8 bits, rounding included, of its time in float32: measured, in turns with float32, on an AMD
// EPYC with AVX-512 VNNI for 1560 tokens of the 1.7B, 0.33 (a projection) to 0.41 (the feed-forward network's second layer). How
// fast another processor is, its first fast clip tells.
const int8Time = 0.38

// rate is the arithmetic per second that clips have taken on a device of this machine, or will.
func (e *Engine) rate(ctx context.Context, l Linear) (float64, error) {
	if l.DType == INT8 {
		if known := e.speed8.known(); known > 0 {
			return known, nil
		}
	}
	return e.speed.get(ctx, e.site(plan.DiT))
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
	if cost, err := CostOf(s, m.Transformer.Shape()); err == nil {
		speed := &e.speed
		if c.Linear.DType == INT8 {
			speed = &e.speed8
		}
		speed.note(cost.on(len(e.devices), c.Linear)*(1-float64(c.Passes.Reused)/float64(cost.Calls)), seconds)
	}
}

// telling is how long denoising must have taken to say something about the machine: a short one is mostly overhead.
const telling = 5 // seconds

// Shape is that of the checkpoint.
func (t *Transformer) Shape() Shape {
	return Shape{Width: int(t.net.Dim()), FFN: int(t.net.Blocks[0].FFNIn.Weight.Shape[0]), Layers: len(t.net.Blocks)}
}

// speedometer knows how fast a device of this machine denoises.
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

// known is the speed of recent clips; 0: there are none.
func (m *speedometer) known() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seconds > 0 {
		return m.flop / m.seconds
	}
	return 0
}

func (m *speedometer) get(ctx context.Context, s site) (float64, error) {
	if known := m.known(); known > 0 {
		return known, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.measured == 0 {
		var err error
		if m.measured, err = measure(ctx, s); err != nil {
			return 0, err
		}
	}
	if s.device.card != nil {
		return m.measured * cardEfficiency, nil
	}
	return m.measured * efficiency, nil
}

// efficiency is the share of a bare matrix product's speed that a whole pass of the transformer reaches: measured on a CPU,
// assumed on a card.
const (
	efficiency     = 0.8
	cardEfficiency = 0.5
)

// measure runs products of the size that a transformer's are, in its type, for a fraction of a second.
func measure(ctx context.Context, s site) (flopPerSecond float64, err error) {
	const most, enough = 50, 250 * time.Millisecond
	rows, width := int64(512), int64(1536)
	if s.device.card != nil {
		rows, width = 4096, 4096 // less would not fill it
	}
	in := map[string]*ort.Tensor{}
	defer func() { err = errors.Join(err, ort.CloseAll(in)) }()
	shapes := map[string][]int64{"a": {rows, width}, "b": {width, width}}
	n := &graph.Network{Name: "speed", Outputs: []string{"product"}, Stages: []graph.Stage{{
		Name: "product", In: []string{"a", "b"}, Out: []string{"product"},
		Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
			return []graph.Value{g.ToFloat32(g.MatMul(g.ToCompute(in[0]), g.ToCompute(in[1])))}
		},
	}}}
	for name, shape := range shapes {
		n.Inputs = append(n.Inputs, graph.Port{Name: name, DType: checkpoint.F32, Shape: shape})
		zeros, err := ort.FromFloat32s(shape, make([]float32, shape[0]*shape[1]))
		if err != nil {
			return 0, err
		}
		if in[name], err = s.upload(ctx, zeros); err != nil {
			return 0, err
		}
	}
	chain, err := s.chain(n, ort.ChainOptions{Keep: n.Outputs})
	if err != nil {
		return 0, err
	}
	defer closing(chain, &err)
	run := func() error {
		out, err := chain.Run(ctx, in, nil)
		if err != nil {
			return err
		}
		return ort.CloseAll(out)
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
	return 2 * float64(rows*width*width) / fastest.Seconds(), nil
}
