package runpod

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// gate holds jobs back until Prestart has ended.
type gate struct {
	done chan struct{}
	err  error // once done is closed
}

func (g *gate) ended() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

func (g *gate) failed() bool { return g.ended() && g.err != nil }

// prestart opens the gate. If the hook fails every job that is held is failed with the reason; if there is none, the take
// loop gets some time for a last job that can carry the news, because a queue that does not move explains nothing.
func (s *session) prestart(ctx context.Context) {
	err := s.runPrestart(ctx)
	if ctx.Err() != nil && err != nil { // a shutdown is no failure
		return
	}
	if err != nil {
		s.log.Error().Err(err).Msg("The worker cannot be started.")
	}
	s.gate.err = err
	close(s.gate.done)
	if err == nil {
		return
	}
	if s.handling.Load() > 0 {
		s.drain("the worker cannot be started")
		return
	}
	time.AfterFunc(s.t.PrestartTake, func() { s.drain("the worker cannot be started") })
}

func (s *session) runPrestart(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = caught(v)
		}
	}()
	if limit := s.c.PrestartTimeout; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready after %s (WORKER_PRESTART_TIMEOUT)", limit))
		defer cancel()
	}
	began := time.Now()
	if err := s.prestartHook(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
			return cause
		}
		return err
	}
	s.log.Info().Stringer("took", time.Since(began)).Msg("The worker is ready.")
	return nil
}

// prestartFailure is the answer to a job that was held while Prestart failed: the text of an object, as RunPod's worker has
// it.
func (s *session) prestartFailure() error {
	kind, trace := rootType(s.gate.err), chain(s.gate.err)
	if p, ok := errors.AsType[*panicked](s.gate.err); ok {
		kind, trace = "panic", string(p.stack)
	}
	return &JobError{Code: "prestart_failed", Err: s.gate.err, Message: s.text(map[string]any{
		"event": "prestart_failed", "error_type": kind, "error_message": s.redact.Text(clip(s.gate.err.Error(), 4096)),
		"error_traceback": s.redact.Text(clip(trace, 8192)), "worker_id": orUnknown(s.c.PodID), "runpod_version": s.version,
	})}
}
