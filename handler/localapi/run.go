package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

var (
	errTimedOut = errors.New("the job took longer than its policy.executionTimeout")
	errStopped  = errors.New("the server is stopped")
)

// run is a job's time with the handler.
func (s *Server) run(ctx context.Context, j *job, work runpod.Job) {
	log := s.Log.With().Str("job", j.id).Logger()
	if limit := time.Duration(work.Policy.ExecutionTimeout) * time.Millisecond; limit > 0 {
		timer := time.AfterFunc(limit, func() {
			late := runpod.Fail("job_timeout", "The job was stopped after %s, the most that its policy.executionTimeout allows.", limit)
			if s.queue.timeOut(j, s.failed(TimedOut, late)) {
				log.Info().Stringer("limit", limit).Msg("The job is out of time.")
			}
		})
		defer timer.Stop()
	}
	heard := context.AfterFunc(ctx, func() {
		log.Info().Msg("Stopping job.")
		time.AfterFunc(stopTime, func() {
			if s.queue.holds(j) {
				log.Error().Stringer("waited", stopTime).Msg("The handler did not return after its job was stopped; its place stays taken until it does.")
			}
		})
	})
	log.Info().Msg("Started.")
	a := s.call(ctx, work, &reporter{s: s, j: j})
	heard()
	switch {
	case !s.queue.left(j, a):
		log.Info().Msg("Job stopped.")
	case a.state == Completed:
		log.Info().Msg("Finished.")
	default:
		log.Info().Msg("The job failed: " + a.failure)
	}
}

// call runs the handler, with the uploads that the job names in its input.
func (s *Server) call(ctx context.Context, work runpod.Job, r runpod.Reporter) (a answer) {
	defer func() {
		if v := recover(); v != nil {
			s.Log.Error().Str("job", work.ID).Str("panic", fmt.Sprint(v)).Bytes("stack", debug.Stack()).Msg("The handler panicked.")
			a = s.failed(Failed, runpod.Fail("internal", "The job failed inside the worker; its log has the cause."))
		}
	}()
	input, err := s.uploads.filled(work.Input)
	if err != nil {
		return s.failed(Failed, err)
	}
	work.Input = input
	result, err := s.Handler(ctx, work, r)
	if err != nil && errors.Is(context.Cause(ctx), errStopped) {
		err = stopped("finished")
	}
	return s.answer(result, err)
}

// timeOut ends a job that runs, unless it has ended.
func (q *queue) timeOut(j *job, a answer) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.end(j, a) {
		return false
	}
	j.cancel(errTimedOut)
	return true
}

// holds reports whether a job has ended and its handler has not returned.
func (q *queue) holds(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return j.cancel != nil && j.state.Final()
}

// reporter is a runpod.Reporter.
type reporter struct {
	s *Server
	j *job
}

const (
	maxProgressBytes = 8 << 10   // RunPod's
	maxChunkBytes    = 1_000_000 // RunPod's
)

func (r *reporter) Progress(v any) {
	raw, err := runpod.Encode(v)
	if err != nil || len(raw) > maxProgressBytes {
		r.s.Log.Warn().Str("job", r.j.id).AnErr("cause", err).Int("bytes", len(raw)).Msg("A progress value is no JSON or too large; it is dropped.")
		return
	}
	r.change(func() { r.j.reported(r.s.Log.Redactor.JSON(raw), time.Now()) })
}

func (r *reporter) Stream(v any) error {
	raw, err := runpod.Encode(v)
	if err != nil {
		return err
	}
	if len(raw) > maxChunkBytes {
		return fmt.Errorf("a chunk has %d bytes of JSON, RunPod takes %d: send smaller ones", len(raw), maxChunkBytes)
	}
	if !r.change(func() { r.j.chunks.add(json.RawMessage(raw)) }) {
		return context.Canceled
	}
	return nil
}

// change makes a change to a job that still runs for somebody.
func (r *reporter) change(do func()) bool {
	r.s.queue.mu.Lock()
	defer r.s.queue.mu.Unlock()
	if r.j.state != InProgress {
		return false
	}
	do()
	r.j.tell()
	return true
}
