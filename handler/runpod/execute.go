package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/rs/zerolog"
)

var (
	errStopped  = errors.New("the worker is stopped")
	errTimedOut = errors.New("the job took too long")
	errStuck    = errors.New("the handler did not return after its context ended")
	errLeave    = errors.New("the job is left for another worker")
)

// handle takes a job from its arrival to its accepted result. ran is called once the handler has returned.
func (s *session) handle(e *entry, job Job, problem error, mine *place, ran func(), log zerolog.Logger) {
	defer s.delivering.Done()
	defer func() {
		log.Debug().Int("goroutines", runtime.NumGoroutine()).Uint64("heap", heapInUse()).Msg("The job has left.")
	}()
	defer ran()
	defer s.desk.leave(e)
	defer s.redact.add(job)()
	ctx, cancel := joined(e.ctx, s.hard)
	defer cancel()
	defer context.AfterFunc(e.ctx, func() { log.Info().Msg("Stopping job.") })()

	r := newReport(s, e, log)
	var result Result
	err := problem
	if mine == nil && err == nil { // RunPod gave out more than was asked for
		if mine = s.places.one(ctx, s.draining); mine == nil {
			err = errLeave
		}
	}
	if err == nil {
		result, err = s.execute(ctx, job, r, log)
	}
	if errors.Is(err, errStuck) {
		log.Error().Stringer("waited", s.t.Stop).Msg("The handler did not return after its context ended; the worker shuts down to get rid of it.")
		mine, result.Refresh = nil, true // the place holds what cannot be used again: it is never released
	}
	defer mine.release()
	r.settle() // from here on nothing can overtake the result

	if result.Refresh { // before the place is free again
		s.drain("a job asked for a fresh worker")
	}
	hard := s.hard.Err() != nil && err != nil
	switch {
	case e.ctx.Err() != nil:
		log.Info().Msg("Job stopped.")
		return
	case errors.Is(err, errLeave), hard && s.c.ShutdownResult == "none":
		log.Info().Msg("The job is left for another worker.")
		return
	case hard:
		err = &JobError{Code: "worker_shutdown", Message: "The worker was shut down before the job was finished; send it again.",
			Details: map[string]any{"retryable": true}, Err: err}
	}
	last := record{State: statePending, Stream: r.streamed()}
	last.Body, last.Failed = s.bytes(s.answer(result, err, r, log), log)
	if !s.desk.keep(e, last) {
		log.Info().Msg("Job stopped.")
		return
	}
	ran()
	s.deliver(e, last, false, mine, log)
}

// answer is what is posted for a job.
func (s *session) answer(result Result, err error, r *report, log zerolog.Logger) answer {
	var a answer
	if err == nil {
		if a.Output, err = output(result.Output); result.Output == nil && r.streamed() {
			a.Output = r.chunksSent()
		}
	}
	if err != nil {
		a = s.failure(err)
		if _, ok := errors.AsType[Failure](err); ok {
			log.Info().AnErr("cause", errors.Unwrap(err)).Msg("The job failed: " + a.Error)
		} else {
			log.Error().Msg("Captured Handler Exception")
			log.Error().Msg(indented(a.Error))
		}
	}
	a.StopPod = result.Refresh
	return a
}

func indented(object string) string {
	var v any
	if json.Unmarshal([]byte(object), &v) != nil {
		return object
	}
	out, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return object
	}
	return string(out)
}

// execute waits for Prestart and runs the handler, within the time that the job has.
func (s *session) execute(ctx context.Context, job Job, r *report, log zerolog.Logger) (Result, error) {
	limit := s.limit(job)
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errTimedOut)
		defer cancel()
	}
	err := s.await(ctx, r)
	var result Result
	if err == nil {
		log.Info().Msg("Started.")
		result, err = s.call(ctx, job, r)
	}
	if err != nil && errors.Is(context.Cause(ctx), errTimedOut) {
		err = &JobError{Code: "job_timeout", Message: fmt.Sprintf("The job was stopped after %s, the most that it may take here (WORKER_JOB_TIMEOUT, or the request's executionTimeout).", limit),
			Details: map[string]any{"retryable": false}, Err: err}
	}
	return result, err
}

// call runs the handler until it returns, or until it should have.
func (s *session) call(ctx context.Context, job Job, r *report) (Result, error) {
	type ending struct {
		result Result
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		var end ending
		defer func() {
			if v := recover(); v != nil {
				end = ending{err: caught(v)}
			}
			ended <- end
		}()
		end.result, end.err = s.handler(ctx, job, r)
	}()
	var end ending
	select {
	case end = <-ended:
	case <-ctx.Done():
		select {
		case end = <-ended:
		case <-time.After(s.t.Stop):
			end.err = errStuck
		}
	}
	return end.result, end.err
}

// limit is how long a job may take. The policy's own limit must not be reached: RunPod would answer in our place.
func (s *session) limit(job Job) time.Duration {
	if s.c.JobTimeout > 0 {
		return s.c.JobTimeout
	}
	return time.Duration(job.Policy.ExecutionTimeout) * time.Millisecond / 100 * 95
}

// await waits for Prestart. A job that waits tells its client so.
func (s *session) await(ctx context.Context, r *report) error {
	if !s.gate.ended() {
		r.Progress(map[string]any{"stage": "loading_model"})
		select {
		case <-s.gate.done:
		case <-s.draining:
		case <-ctx.Done():
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !s.gate.ended():
		return errLeave
	case s.gate.err != nil:
		return s.prestartFailure()
	}
	return nil
}

// heapInUse is the number of bytes of Go's heap that objects take. It stops nothing, as runtime.ReadMemStats would.
func heapInUse() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
