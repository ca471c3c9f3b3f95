package handler

import (
	"math"
	"time"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/storage"
)

// Result is the output of a job.
type Result struct {
	VideoURL    string                      `json:"video_url,omitempty"`
	ExpiresAt   time.Time                   `json:"expires_at,omitzero"` // of VideoURL
	Key         string                      `json:"key,omitempty"`       // of the video; none if it was uploaded to the job's own address
	ManifestURL string                      `json:"manifest_url,omitempty"`
	Seed        uint64                      `json:"seed"`
	Mode        inference.Mode              `json:"mode"`
	Variant     inference.Variant           `json:"variant"`
	Quality     inference.Quality           `json:"quality"`
	Frames      int                         `json:"frames"` // as made: 4k+1
	FPS         int                         `json:"fps"`
	Width       int                         `json:"width"`
	Height      int                         `json:"height"`
	DurationS   float64                     `json:"duration_s"`
	Timings     map[inference.Stage]float64 `json:"timings,omitempty"`  // seconds
	Passes      inference.Passes            `json:"passes,omitzero"`    // of the transformer: which ran, and which quality "balanced" spared
	Replaced    bool                        `json:"replaced,omitempty"` // another clip was stored under the job's id before
	DryRun      bool                        `json:"dry_run,omitempty"`
	Estimate    *Estimate                   `json:"estimate,omitempty"` // of a dry run

	// Linear is the numbers in which the transformer's linear layers ran, or would run: int8 with quality "fast" on a CPU where that
	// can be done, and if not, LinearReason says why.
	Linear       inference.DType `json:"linear,omitempty"`
	LinearReason string          `json:"linear_reason,omitempty"`
}

// Estimate is what denoising, nearly all of the work, would take: Passes × Steps calls of the transformer with Tokens
// each, or AtMost where a quality needs fewer. TFLOP and Seconds are those of so many calls.
type Estimate struct {
	Passes  int     `json:"passes"`
	Steps   int     `json:"steps"`
	AtMost  int     `json:"calls_at_most,omitempty"` // how many fewer shows only while the clip is made
	Tokens  int     `json:"tokens"`
	TFLOP   float64 `json:"tflop"`
	Seconds float64 `json:"seconds,omitempty"` // at this machine's speed; none: not known
}

func newResult(spec inference.Spec, clip *inference.Clip) *Result {
	timings := map[inference.Stage]float64{}
	for stage, seconds := range clip.Timings {
		timings[stage] = milliseconds(seconds)
	}
	return &Result{
		Seed: clip.Seed, Mode: spec.Mode, Variant: spec.Variant, Quality: spec.Quality,
		Frames: clip.Frames, FPS: clip.FPS, Width: clip.Width, Height: clip.Height,
		DurationS: milliseconds(clip.Duration), Timings: timings, Passes: clip.Passes,
		Linear: clip.Linear.DType, LinearReason: clip.Linear.Reason,
	}
}

// link adds the links to what is stored. manifest is empty if none is.
func (r *Result) link(video, manifest storage.Object) {
	r.VideoURL, r.ExpiresAt, r.Key, r.ManifestURL = video.URL, video.ExpiresAt, video.Key, manifest.URL
}

// dryResult is what would have been made.
func dryResult(spec inference.Spec, e inference.Estimate) *Result {
	r := &Result{
		DryRun: true, Seed: spec.Seed, Mode: spec.Mode, Variant: spec.Variant, Quality: spec.Quality,
		Frames: e.Frames, FPS: spec.FPS, Width: spec.Width, Height: spec.Height,
		DurationS: milliseconds(float64(e.Frames) / float64(spec.FPS)), Linear: e.Linear.DType, LinearReason: e.Linear.Reason,
		Estimate: &Estimate{
			Passes: e.Passes, Steps: e.Steps, Tokens: e.Tokens, TFLOP: milliseconds(e.FLOP / 1e12), Seconds: milliseconds(e.Seconds),
		},
	}
	if spec.Quality == inference.Balanced {
		r.Estimate.AtMost = e.Calls
	}
	return r
}

// milliseconds rounds to what is worth reading. JSON has no infinities; 0 stands for nonsense.
func milliseconds(seconds float64) float64 {
	if math.IsNaN(seconds) || math.IsInf(seconds, 0) {
		return 0
	}
	return math.Round(seconds*1000) / 1000
}
