// Package handler is what a job is: the fields it may have, what is wrong with it, what it answers. Handle turns a
// job's JSON into a stored video: parse, check everything, let the engine work, store. Nothing that can be known from
// the job alone is left for the engine to find out.
//
// It knows no queue and no HTTP, and of the engine only Engine.
package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

// Job is a request for one clip.
type Job struct {
	ID    string          // becomes part of the result's key
	Input json.RawMessage // an object with the fields of Request

	// LocalPaths allows plain paths as sources. It is for the person at the keyboard; nothing in Input can set it.
	LocalPaths bool
}

// Reporter is told how a job gets on. Calls do not overlap.
type Reporter interface {
	Progress(inference.Progress)
}

// Engine makes clips. inference.Engine is one.
type Engine interface {
	Generate(ctx context.Context, spec inference.Spec, observe func(inference.Progress)) (*inference.Clip, error)
}

// Handler handles jobs. Its methods may be called at the same time; whether clips are made at the same time is the
// engine's affair.
type Handler struct {
	config  Config
	engine  Engine
	store   storage.Store
	scratch *Scratch
	log     zerolog.Logger
}

// New returns a handler whose temporary files lie in scratch.
func New(config Config, engine Engine, store storage.Store, scratch *Scratch, log zerolog.Logger) (*Handler, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &Handler{config: config, engine: engine, store: store, scratch: scratch, log: log}, nil
}

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

	request, problems := parse(job, h.config)
	dir, remove, err := h.scratch.Job()
	if err != nil {
		return nil, err
	}
	defer remove()
	spec, more := h.gather(ctx, request, dir)
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if problems = append(problems, more...); len(problems) > 0 {
		for _, p := range problems {
			log.Debug().Str("code", p.Code).Str("field", p.Field).AnErr("cause", p.Err).Msg("The job is refused.")
		}
		return nil, problems
	}

	log.Info().Str("mode", string(spec.Mode)).Str("variant", string(spec.Variant)).
		Int("width", spec.Width).Int("height", spec.Height).Int("frames", spec.Frames).Int("fps", spec.FPS).
		Int("steps", spec.Steps).Float64("shift", spec.Shift).Uint64("seed", spec.Seed).Msg("The job is valid.")
	if request.DryRun {
		return dryResult(spec), nil
	}
	clip, err := h.engine.Generate(ctx, spec, reporter.Progress)
	if err != nil {
		return nil, h.explain(ctx, log, err)
	}
	object, err := h.store.Put(ctx, storage.Segment(job.ID)+"/video.mp4", clip.Path, "video/mp4")
	if err != nil {
		return nil, h.explain(ctx, log, err)
	}
	return newResult(spec, clip, object), nil
}

// explain logs the cause that the caller will not see. A cancelled job's error is the cancellation, whatever broke on
// the way out.
func (h *Handler) explain(ctx context.Context, log zerolog.Logger, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	log.Error().Err(err).Str("code", ProblemsOf(err)[0].Code).Msg("The job failed.")
	return err
}
