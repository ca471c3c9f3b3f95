package handler

import (
	"math"
	"time"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/storage"
)

// Result is the output of a job.
type Result struct {
	VideoURL  string                      `json:"video_url,omitempty"`
	ExpiresAt time.Time                   `json:"expires_at,omitzero"` // of VideoURL
	Key       string                      `json:"key,omitempty"`
	Seed      uint64                      `json:"seed"`
	Mode      inference.Mode              `json:"mode"`
	Variant   inference.Variant           `json:"variant"`
	Frames    int                         `json:"frames"` // as made: 4k+1
	FPS       int                         `json:"fps"`
	Width     int                         `json:"width"`
	Height    int                         `json:"height"`
	DurationS float64                     `json:"duration_s"`
	Timings   map[inference.Stage]float64 `json:"timings,omitempty"` // seconds
	DryRun    bool                        `json:"dry_run,omitempty"`
}

func newResult(spec inference.Spec, clip *inference.Clip, object storage.Object) *Result {
	timings := map[inference.Stage]float64{}
	for stage, seconds := range clip.Timings {
		timings[stage] = milliseconds(seconds)
	}
	return &Result{
		VideoURL: object.URL, ExpiresAt: object.ExpiresAt, Key: object.Key,
		Seed: clip.Seed, Mode: spec.Mode, Variant: spec.Variant,
		Frames: clip.Frames, FPS: clip.FPS, Width: clip.Width, Height: clip.Height,
		DurationS: milliseconds(clip.Duration), Timings: timings,
	}
}

// dryResult is what would have been made.
func dryResult(spec inference.Spec) *Result {
	frames := wholeFrames(spec.Frames)
	return &Result{
		DryRun: true, Seed: spec.Seed, Mode: spec.Mode, Variant: spec.Variant,
		Frames: frames, FPS: spec.FPS, Width: spec.Width, Height: spec.Height,
		DurationS: milliseconds(float64(frames) / float64(spec.FPS)),
	}
}

// wholeFrames rounds down to 4k+1, which is what the video codec of the model can hold.
func wholeFrames(frames int) int { return (frames-1)/4*4 + 1 }

// milliseconds rounds seconds to what is worth reading. JSON has no infinities; 0 stands for nonsense.
func milliseconds(seconds float64) float64 {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return 0
	}
	return math.Round(seconds*1000) / 1000
}
