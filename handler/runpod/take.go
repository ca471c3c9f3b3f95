package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// takeLoop takes jobs until ctx ends, or, after a failed Prestart, until there is one to tell the reason to. A place to
// run is reserved before a job is asked for: nothing that was taken waits for another job to end.
func (s *session) takeLoop(ctx context.Context) {
	var p pace
	for {
		places := s.places.reserve(ctx)
		if len(places) == 0 {
			return
		}
		pollCtx, cancel := context.WithTimeout(ctx, s.t.Poll)
		answer := s.api.poll(pollCtx, s.to.takeURL(len(places), s.desk.busy()))
		cancel()
		if ctx.Err() != nil && answer.err != nil {
			release(places)
			return
		}
		jobs, wait := p.judge(s, answer)
		for _, raw := range jobs {
			var mine *place // a job too many reserves its own
			if len(places) > 0 {
				mine, places = places[0], places[1:]
			}
			if ctx.Err() != nil {
				s.log.Info().Msg("A job came in after the shutdown began: it is left for another worker.")
				mine.release()
				continue
			}
			s.accept(raw, mine)
		}
		release(places)
		if len(jobs) > 0 && s.gate.failed() || !pause(ctx, wait) {
			return
		}
	}
}

// pace decides how soon to ask again.
type pace struct {
	idle, auth, refused, server backoff
	failures                    int
}

// judge returns the jobs of an answer and the pause after it.
func (p *pace) judge(s *session, a reply) ([]json.RawMessage, time.Duration) {
	t := s.t
	switch {
	case errors.Is(a.err, context.DeadlineExceeded) && a.took >= t.Poll/2:
		*p = pace{}
		s.log.Debug().Msg("No job within the poll's time.")
		return nil, 0
	case a.err != nil || a.status >= 500:
		s.takeFailed(p, a)
		if p.server.first == 0 { // the first retry is at once
			p.server = backoff{first: t.ServerRetry, max: t.ServerRetryMax}
			return nil, 0
		}
		return nil, p.server.next()
	case a.status == 429:
		s.log.Debug().Stringer("wait", a.wait(t)).Msg("RunPod throttles.")
		return nil, a.wait(t)
	case a.status == 401 || a.status == 403:
		s.takeFailed(p, a)
		p.auth.first, p.auth.max = t.AuthRetry, t.AuthRetryMax
		return nil, p.auth.next()
	case a.status >= 400 && a.status != 400: // 400 is usual around a freeze and thaw
		s.takeFailed(p, a)
		p.refused.first, p.refused.max = t.RefusedRetry, t.RefusedRetryMax
		return nil, p.refused.next()
	}

	idle := p.idle
	*p = pace{}
	if a.status == 200 && a.contentType == "application/json" {
		jobs, err := jobsIn(a.body)
		if err != nil {
			s.log.Debug().Err(err).Msg("RunPod's answer holds no job.")
		}
		if len(jobs) > 0 {
			return jobs, 0
		}
	}
	if a.took >= t.Quick { // the server held the poll
		return nil, 0
	}
	idle.first, idle.max = t.Floor, t.FloorMax
	wait := idle.next()
	p.idle = idle
	return nil, wait
}

// takeFailed logs the first failure of a row and every twentieth.
func (s *session) takeFailed(p *pace, a reply) {
	event := s.log.Debug()
	if p.failures%20 == 0 {
		event = s.log.Error()
	}
	p.failures++
	event.Int("failures", p.failures).Msgf("Failed to get job. | Error Type: %T | Error Message: %s", a.err, a)
}

// accept decides what becomes of a job that was given out.
func (s *session) accept(raw json.RawMessage, mine *place) {
	job, problem := parseJob(raw)
	if job.ID == "" {
		s.log.Error().Err(problem).Msg("A job without an id is dropped.")
		mine.release()
		return
	}
	log := s.jobLog(job)
	entry, was := s.desk.admit(job.ID)
	switch was {
	case fresh:
		s.running.Add(1)
		s.delivering.Add(1)
		s.handling.Add(1)
		go s.handle(entry, job, problem, mine, sync.OnceFunc(func() { s.handling.Add(-1); s.running.Done() }), log)
		log.Info().Msgf("Jobs in progress: %d", s.desk.count())
		return
	case underway:
		log.Warn().Msg("The job was given out again while it is under way; it is not run twice.")
	case answered:
		log.Warn().Msg("The job was given out again although it has been run; its result is posted again.")
		s.delivering.Add(1)
		go s.again(entry, log)
	case cancelled:
		log.Info().Msg("The job has been cancelled; it is not run.")
	}
	mine.release()
}
