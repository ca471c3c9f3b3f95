package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// stopLoop hears which jobs RunPod wants stopped: cancelled, expired, timed out.
func (s *session) stopLoop(ctx context.Context) {
	if s.to.stop == "" {
		s.log.Warn().Msg("RUNPOD_WEBHOOK_GET_JOB has no /job-take/ in it: cancelled jobs cannot be stopped.")
		return
	}
	missing := backoff{first: s.t.StopPause, max: s.t.StopPauseMax}
	idle := backoff{first: s.t.Floor, max: s.t.FloorMax}
	failures := 0
	for {
		pollCtx, cancel := context.WithTimeout(ctx, s.t.Poll)
		a := s.api.poll(pollCtx, s.to.stop)
		cancel()
		if ctx.Err() != nil {
			return
		}
		wait := s.t.StopPause
		switch {
		case errors.Is(a.err, context.DeadlineExceeded) && a.took >= s.t.Poll/2:
			wait = 0
		case a.status == 429:
			wait = a.wait(s.t)
		case a.status == 404 || a.status == 405:
			if missing.n == 0 {
				s.log.Warn().Msgf("RunPod has no stop channel for this worker: %s", a)
			}
			wait = missing.next()
		case a.err != nil || a.status >= 400:
			if failures%20 == 0 {
				s.log.Error().Int("failures", failures+1).Msgf("Failed to get stop signals: %s", a)
			}
			failures++
		default:
			missing.n, failures = 0, 0
			switch {
			case a.status == 200 && s.stopJobs(a):
				wait, idle.n = 0, 0
			case a.status == 204 && a.took >= s.t.Quick:
				wait, idle.n = 0, 0
			case a.status == 204:
				wait = idle.next()
			}
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// stopJobs cancels the jobs that an answer names; false: it names none.
func (s *session) stopJobs(a reply) bool {
	var signal struct {
		Jobs []any `json:"jobsToStop"`
	}
	if a.contentType != "application/json" || json.Unmarshal(a.body, &signal) != nil {
		s.log.Warn().Str("type", a.contentType).Msg("RunPod's stop signal cannot be read; it is taken as empty.")
		return false
	}
	for _, v := range signal.Jobs {
		id, ok := v.(string)
		if !ok || id == "" {
			s.log.Warn().Msg("RunPod's stop signal names a job with something else than a text.")
			continue
		}
		if !s.desk.cancel(id) {
			s.log.Debug().Str("job", id).Msg("A job is stopped that is not here.")
		}
	}
	return len(signal.Jobs) > 0
}

// waitFor waits for a group; false: the time is up or stop was closed first. limit 0: no limit.
func waitFor(wait func(), limit time.Duration, stop <-chan struct{}) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wait()
	}()
	var up <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		up = timer.C
	}
	select {
	case <-ended:
		return true
	case <-up:
	case <-stop:
	}
	return false
}
