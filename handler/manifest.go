package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/umt5"
	"github.com/humo-worker/humo-worker/storage"
)

// Manifest says what a result was made of. It is written after the video, so that its presence says that the video is
// whole; a job that is delivered again is answered from it. docs/manifest.md describes it. It holds no secret: no
// address of a source or of a destination, no credentials, and prompts only where the endpoint's settings say so.
type Manifest struct {
	Manifest      int                     `json:"manifest"` // the form's version
	Job           string                  `json:"job"`
	Created       time.Time               `json:"created"`
	RequestSHA256 string                  `json:"request_sha256"`
	InputSHA256   string                  `json:"input_sha256"`
	Inputs        ManifestInputs          `json:"inputs"`
	Parameters    Parameters              `json:"parameters"`
	Versions      map[string]string       `json:"versions"`
	Weights       []inference.WeightsFile `json:"weights,omitempty"`
	Machine       *inference.Machine      `json:"machine,omitempty"`
	Video         File                    `json:"video"`
	Time          Time                    `json:"time"`
	Result        *Result                 `json:"result"` // as it was answered, without links
}

// ManifestInputs are the hashes of what the caller sent.
type ManifestInputs struct {
	Prompt         string `json:"prompt,omitempty"`
	PromptSHA256   string `json:"prompt_sha256"`
	Negative       string `json:"negative_prompt,omitempty"`
	NegativeSHA256 string `json:"negative_prompt_sha256"`
	Audio          File   `json:"audio"`
	Images         []File `json:"images,omitempty"`
}

// Parameters are those that ran, rounded and with all defaults, under the contract's names.
type Parameters struct {
	Mode          inference.Mode    `json:"mode"`
	Variant       inference.Variant `json:"variant"`
	Frames        int               `json:"frames"`
	Width         int               `json:"width"`
	Height        int               `json:"height"`
	FPS           int               `json:"fps"`
	Steps         int               `json:"steps"`
	Shift         float64           `json:"shift"`
	Seed          uint64            `json:"seed"`
	ScaleT        float64           `json:"scale_t"`
	ScaleA        float64           `json:"scale_a"`
	ScaleI        float64           `json:"scale_i"`
	StepChange    int               `json:"step_change"`
	IsolateVocals bool              `json:"isolate_vocals"`
	Quality       inference.Quality `json:"quality"`
	LoRAs         []inference.LoRA  `json:"loras,omitempty"` // the distilled one that a fast clip took by itself included
	Output        struct {
		Format string `json:"format"`
		CRF    int    `json:"crf"`
	} `json:"output"`
}

// Time says where the seconds of a job went, from its receipt until the video was stored.
type Time struct {
	Total   float64 `json:"total"`
	Fetch   float64 `json:"fetch"`         // the sources: brought, checked and hashed
	Make    float64 `json:"make"`          // the clip: the stages of the result's timings, and the reading of the sources
	Store   float64 `json:"store"`         // the video, and the fingerprints of the weights before it
	Compute float64 `json:"compute"`       // of Make: ONNX Runtime ran networks
	Outside float64 `json:"outside"`       // Total without Compute
	Share   float64 `json:"outside_share"` // Outside's of Total: 0.02 is two hundredths
}

// times are the moments between the parts of a job.
type times struct{ began, fetched, made time.Time }

func (t times) until(stored time.Time, clip *inference.Clip) Time {
	seconds := func(from, to time.Time) float64 { return milliseconds(to.Sub(from).Seconds()) }
	spent := Time{
		Total: seconds(t.began, stored), Fetch: seconds(t.began, t.fetched), Make: seconds(t.fetched, t.made), Store: seconds(t.made, stored),
		Compute: milliseconds(clip.Compute), Outside: milliseconds(stored.Sub(t.began).Seconds() - clip.Compute),
	}
	if spent.Total > 0 {
		spent.Share = math.Round(1e4*spent.Outside/spent.Total) / 1e4
	}
	return spent
}

// manifestForm is the version of the form that is written and answered from.
const manifestForm = 1

// names of a job's objects.
func videoKey(job string) string    { return storage.Segment(job) + "/video.mp4" }
func manifestKey(job string) string { return storage.Segment(job) + "/manifest.json" }

// delivered gives the manifest of an earlier delivery of a job, or nil; one without a result stands for one that cannot be
// used. A store that cannot be had is an error: the clip may lie there already, and a new one could not be put there either.
// One that lets nothing be read, as for keys that may only write, has no manifests.
func (d *destination) delivered(ctx context.Context, log zerolog.Logger, job string) (*Manifest, error) {
	if d.store == nil {
		return nil, nil
	}
	data, err := d.store.Get(ctx, manifestKey(job))
	switch problem, _ := errors.AsType[*fault.Error](err); {
	case err == nil:
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil
	case problem == nil, problem.Retryable, problem.Code == storage.CodeBucketNotFound, problem.Code == storage.CodeBucketElsewhere:
		return nil, err
	default:
		log.Warn().Err(err).Msg("Whether the job was done before cannot be told.")
		return nil, nil
	}
	m := new(Manifest)
	if err := json.Unmarshal(data, m); err != nil || m.Manifest != manifestForm || m.Result == nil {
		log.Warn().AnErr("cause", err).Msg("The job's earlier manifest cannot be used; the job is done anew.")
		return &Manifest{}, nil
	}
	return m, nil
}

// answer makes the result of an earlier delivery again, with fresh links. It is nil if the video is not there any more.
func (m *Manifest) answer(ctx context.Context, d *destination, job string) (*Result, error) {
	result := *m.Result
	video, err := d.signVideo(ctx, videoKey(job))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	manifest, err := d.store.Sign(ctx, manifestKey(job))
	if err != nil {
		return nil, err
	}
	result.link(video, manifest)
	return &result, nil
}

// describe makes the manifest of a clip.
func (h *Handler) describe(job Job, r *Request, spec inference.Spec, sources gathered, clip *inference.Clip, id *inference.Identity) *Manifest {
	negative := cmp.Or(spec.NegativePrompt, umt5.DefaultNegativePrompt)
	m := &Manifest{
		Manifest: manifestForm, Job: job.ID, Created: time.Now().UTC().Truncate(time.Second),
		RequestSHA256: r.requestHash(), InputSHA256: r.inputHash(sources),
		Inputs: ManifestInputs{
			PromptSHA256: hashText(spec.Prompt), NegativeSHA256: hashText(negative), Audio: sources.audio, Images: sources.images,
		},
		Parameters: Parameters{
			Mode: spec.Mode, Variant: spec.Variant, Frames: clip.Frames, Width: clip.Width, Height: clip.Height, FPS: clip.FPS,
			Steps: spec.Steps, Shift: spec.Shift, Seed: clip.Seed,
			ScaleT: spec.ScaleT, ScaleA: spec.ScaleA, ScaleI: spec.ScaleI, StepChange: spec.StepChange, IsolateVocals: spec.IsolateVocals,
			Quality: spec.Quality, LoRAs: clip.LoRAs,
		},
		Versions: map[string]string{"humo-worker": cmp.Or(h.config.Version, "dev"), "go": runtime.Version()},
	}
	m.Parameters.Output.Format, m.Parameters.Output.CRF = "mp4", spec.CRF
	if h.config.ManifestPrompts {
		m.Inputs.Prompt, m.Inputs.Negative = spec.Prompt, negative
	}
	if id != nil {
		m.Versions["onnxruntime"], m.Weights, m.Machine = id.ONNXRuntime, id.Weights, &id.Machine
	}
	return m
}

// put stores the manifest, by way of a file in dir.
func (m *Manifest) put(ctx context.Context, d *destination, job, dir string) (storage.Object, error) {
	data, err := marshal(m)
	if err != nil {
		return storage.Object{}, err
	}
	path := filepath.Join(dir, "manifest.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return storage.Object{}, err
	}
	return d.store.Put(ctx, manifestKey(job), path, "application/json")
}
