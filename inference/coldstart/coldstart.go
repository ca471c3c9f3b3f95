// Package coldstart measures how long a process needs from its start to the first step of the diffusion transformer, and
// what of that is reading. It uses the engine as a worker does, on weights of any size, and changes nothing but the page
// cache.
package coldstart

import (
	"context"
	"math"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/memory"
)

// Start is what one start of a process took.
type Start struct {
	Stages       []Stage `json:"stages"` // in order, without gaps
	Seconds      float64 `json:"seconds"`
	WeightsBytes int64   `json:"weights_bytes"` // that the networks read
	ReadBytes    int64   `json:"read_bytes"`    // that were read ahead; less than WeightsBytes if memory has no room
	ReadSeconds  float64 `json:"read_seconds"`
	PeakBytes    int64   `json:"peak_bytes"`           // resident, pages of mapped weights included
	PeakOwnBytes int64   `json:"peak_anonymous_bytes"` // of pages that are no file's
	PeakRatio    float64 `json:"peak_ratio"`           // PeakBytes / WeightsBytes
}

// Stage is a part of the start.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Clip is the clip that is begun: small, because the time of a start is the weights'.
type Clip struct{ Width, Height, Frames int }

// laps splits the time since began into stages.
type laps struct {
	last   time.Time
	stages []Stage
}

func (l *laps) end(name string) {
	now := time.Now()
	l.stages = append(l.stages, Stage{name, now.Sub(l.last).Seconds()})
	l.last = now
}

// Measure starts an engine, which preloads as a worker's does, and makes the first step of a clip of the variant. began
// is when the process was started.
func Measure(ctx context.Context, cfg inference.Config, v inference.Variant, clip Clip, began time.Time, log zerolog.Logger) (s *Start, err error) {
	watch := memory.Watch()
	defer func() {
		peak := watch.Stop()
		if s != nil {
			s.PeakBytes, s.PeakOwnBytes = peak.Total, peak.Anonymous
			s.PeakRatio = float64(peak.Total) / float64(max(1, s.WeightsBytes))
		}
	}()
	l := &laps{last: began}
	l.end("process")
	cfg.Cache.Folder = "none" // a known prompt would leave the largest network out
	cfg.Preload = inference.PreloadAuto
	e, err := inference.Open(cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := e.Close(); err == nil && cerr != nil {
			s, err = nil, cerr
		}
	}()
	l.end("library")
	if err := e.Prepare(ctx, v); err != nil {
		return nil, err
	}
	l.end("open")
	if err := firstStep(ctx, e, v, clip, l); err != nil {
		return nil, err
	}
	s = &Start{Stages: l.stages, Seconds: time.Since(began).Seconds()}
	read, err := e.ReadAhead(ctx)
	if err != nil {
		return nil, err
	}
	s.WeightsBytes, s.ReadBytes, s.ReadSeconds = read.Wanted, read.Bytes, read.Seconds
	return s, nil
}

// firstStep denoises a clip of one step: all passes of its guidance plan.
func firstStep(ctx context.Context, e *inference.Engine, v inference.Variant, c Clip, l *laps) error {
	wave := make([]float32, 16000) // a tone of a second
	for i := range wave {
		wave[i] = float32(math.Sin(float64(i)/20) / 4)
	}
	s := inference.Spec{Variant: v, Mode: inference.TA, Prompt: "a person speaks", Frames: c.Frames, Width: c.Width, Height: c.Height,
		FPS: 25, Steps: 1, Shift: 5, Seed: 1, ScaleT: 7.5, ScaleA: 5.5, ScaleI: 4}
	before := inference.Stage("")
	_, err := e.Denoise(ctx, &s, &inference.Material{Wave: wave}, func(stage inference.Stage) func(done, total int) {
		if before != "" {
			l.end(string(before))
		}
		before = stage
		first := true
		return func(done, _ int) {
			if stage == inference.StageDenoise && done == 1 && first {
				l.end("first pass")
				first, before = false, "other passes"
			}
		}
	})
	if err == nil {
		l.end(string(before))
	}
	return err
}
