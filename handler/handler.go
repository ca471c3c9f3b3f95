// Package handler is what a job is: the fields it may have, what is wrong with it, what it answers. Handle turns a
// job's JSON into a stored video and a manifest beside it: parse, check everything, let the engine work, store.
// Nothing that can be known from the job alone is left for the engine to find out, and a job that was done is not
// done again.
//
// It knows no queue and no HTTP, and of the engine only Engine.
package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler/fetch"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/storage"
)

// Job is a request for one clip.
type Job struct {
	ID    string          // becomes part of the result's keys
	Input json.RawMessage // an object with the fields of Request

	// S3 is the job's own bucket, RunPod's s3Config, which comes beside the input; nil or null: the endpoint's store.
	S3 json.RawMessage

	// Timeout is how long the job may take in all, RunPod's executionTimeout; 0: not known.
	Timeout time.Duration

	// LocalPaths allows plain paths as sources. It is for the person at the keyboard; nothing in Input can set it.
	LocalPaths bool
}

// Reporter is told how a job gets on. Calls do not overlap.
type Reporter interface {
	Progress(inference.Progress)
}

// Previewer is a Reporter that also shows how the clip looks so far, to jobs that ask for it.
type Previewer interface {
	Preview(step int, p *media.Picture)
}

// Engine makes clips. inference.Engine is one.
type Engine interface {
	Generate(ctx context.Context, spec inference.Spec, observe func(inference.Progress)) (*inference.Clip, error)
	Estimate(ctx context.Context, spec inference.Spec) (inference.Estimate, error)
	Identify(ctx context.Context, v inference.Variant) (*inference.Identity, error)
}

// Handler handles jobs. Its methods may be called at the same time; whether clips are made at the same time is the
// engine's affair.
type Handler struct {
	config  Config
	engine  Engine
	store   storage.Store
	scratch *Scratch
	client  *fetch.Client // for every address that comes with a job
	log     zerolog.Logger
}

// New returns a handler whose temporary files lie in scratch.
func New(config Config, engine Engine, store storage.Store, scratch *Scratch, log zerolog.Logger) (*Handler, error) {
	config, err := config.open()
	if err != nil {
		return nil, err
	}
	return &Handler{config: config, engine: engine, store: store, scratch: scratch, client: fetch.NewClient(config.Fetch), log: log}, nil
}

// Variant is the model size of jobs that do not say: what an endpoint makes ready before its first job.
func (h *Handler) Variant() inference.Variant { return h.config.base().Variant }

// ScalesOf are the guidance scales of a variant's jobs that do not say.
func (h *Handler) ScalesOf(v inference.Variant) Scales { return h.config.defaults.scalesOf(v) }

// Handle makes the clip that the job asks for and stores it. Every error can be shown to the caller with FailureOf.
// Whatever happens, a panic included, no temporary file is left.
func (h *Handler) Handle(ctx context.Context, job Job, reporter Reporter) (result *Result, err error) {
	log := h.log.With().Str("job", job.ID).Logger()
	defer func() {
		if r := recover(); r != nil {
			log.Error().Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg("The job panicked.")
			result, err = nil, fault.New(CodeInternal, "", "The job failed inside the worker; its log has the cause.").Again()
		}
	}()

	began := time.Now()
	request, problems := parse(job, h.config)
	to, err := h.destination(request)
	if err != nil {
		problems = append(problems, ProblemsOf(err)...)
		to = &destination{close: func() {}}
	}
	defer to.close()
	dir, remove, err := h.scratch.Job()
	if err != nil {
		return nil, err
	}
	defer remove()
	spec, unfetched := h.gather(ctx, request, dir, len(problems) == 0)
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	run := &run{h, log, job, request, to, spec, dir, reporter, times{began: began}}
	switch all := append(problems, unfetched...); {
	case len(problems) == 0 && len(unfetched) > 0:
		// The links of a job that comes a second time may have ended since the first.
		if result, err := run.again(ctx); result != nil || err != nil {
			return result, err
		}
		return nil, refuse(log, unfetched)
	case len(all) > 0:
		return nil, refuse(log, all)
	}
	return run.do(ctx)
}

func refuse(log zerolog.Logger, problems Problems) error {
	for _, p := range problems {
		log.Debug().Str("code", p.Code).Str("field", p.Field).AnErr("cause", p.Err).Msg("The job is refused.")
	}
	return problems
}

// explain logs the cause that the caller will not see. A cancelled job's error is the cancellation, whatever broke on
// the way out.
func explain(ctx context.Context, log zerolog.Logger, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	log.Error().Err(err).Str("code", ProblemsOf(err)[0].Code).Msg("The job failed.")
	return err
}
