package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/rs/zerolog"
)

// maxLate is how many results may be retried while their jobs' places are in use again. A worker that has more waits.
const maxLate = 16

// again posts a result that may have been posted before.
func (s *session) again(e *entry, log zerolog.Logger) {
	defer s.delivering.Done()
	defer s.desk.leave(e)
	s.deliver(e, *e.last, true, nil, log)
}

// deliver posts a result until RunPod has answered. The job's place is held for the first attempt only. maybe: an earlier
// attempt may have arrived.
func (s *session) deliver(e *entry, last record, maybe bool, mine *place, log zerolog.Logger) {
	ctx, cancel := joined(e.ctx, s.posting)
	defer cancel()

	began := time.Now()
	wait := backoff{first: s.t.PostRetry, max: s.t.PostRetryMax}
	refused := 0
	for attempt := 1; ; attempt++ {
		attemptCtx, cancel := context.WithTimeout(ctx, s.t.Post+time.Duration(len(last.Body)>>20)*time.Second)
		a := s.api.post(attemptCtx, s.to.outputURL(e.id, last.Stream), e.id, last.Body)
		cancel()
		if a.err == nil && a.status < 400 {
			s.delivered(e, last)
			log.Info().Msg("Finished.")
			return
		}
		if ctx.Err() != nil {
			s.undelivered(ctx, log)
			return
		}
		next := time.Duration(-1)
		switch judgePost(a, maybe, last) {
		case isOver:
			log.Info().Msgf("RunPod wants no result for the job any more (expired, cancelled or answered): %s", a)
			s.delivered(e, last)
			log.Info().Msg("Finished.")
			return
		case isRejected:
			log.Error().Msgf("RunPod rejected a result of %d bytes: %s", len(last.Body), a)
			last = s.rejection(last, a, log)
			if !s.desk.keep(e, last) {
				return
			}
			continue
		case tryAgain:
			next = wait.next()
			if a.retryAfter > 0 && a.retryAfter <= s.t.RetryAfterMax {
				next = a.retryAfter
			}
		case isUnauthorized:
			if refused++; refused <= 3 {
				next = s.t.PostAuthRetry
			}
		}
		if next < 0 || time.Since(began)+next > s.c.ResultRetryWindow {
			log.Error().Int("attempts", attempt).Msgf("Failed to return job results. | %s", a)
			log.Info().Msg("Finished.")
			return
		}
		maybe = maybe || a.err != nil && !a.unsent || a.status == 502 || a.status == 504 || a.status >= 520
		event := log.Debug()
		if attempt == 1 {
			event = log.Warn()
			if s.late(ctx) {
				defer func() { <-s.lateResults }()
				mine.release()
			}
		}
		event.Int("attempt", attempt).Stringer("next", next).Msgf("The result was not taken: %s", a)
		if !pause(ctx, next) {
			s.undelivered(ctx, log)
			return
		}
	}
}

// late reserves one of the results that may be retried in the background.
func (s *session) late(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case s.lateResults <- struct{}{}:
		return true
	default:
		return false
	}
}

type postVerdict int

const (
	tryAgain       postVerdict = iota // it can work later
	isOver                            // RunPod has a result, or wants none
	isRejected                        // RunPod does not take this one
	isUnauthorized                    // the key is not taken; maybe for a moment only
	isHopeless                        // nothing else to try
)

// judgePost says what a failed attempt means.
func judgePost(a reply, maybe bool, last record) postVerdict {
	switch status := a.status; {
	case a.err != nil || status >= 500 || status == 408 || status == 425 || status == 429:
		return tryAgain
	case status == 401 || status == 403:
		return isUnauthorized
	case status == 404 || status == 409 || status == 410 || maybe:
		return isOver
	case (status == 400 || status == 413) && hasOutput(last.Body):
		return isRejected
	}
	return isHopeless
}

func hasOutput(body []byte) bool {
	var a answer
	return json.Unmarshal(body, &a) == nil && len(a.Output) > 0
}

// rejection is the small answer that stands in for a result that RunPod does not take: without one the job would hang.
func (s *session) rejection(last record, a reply, log zerolog.Logger) record {
	var rejected answer
	json.Unmarshal(last.Body, &rejected) //nolint:errcheck // it was made here
	small := s.failure(Fail("result_rejected", "RunPod rejected the job's result (HTTP %d, %d bytes of JSON).", a.status, len(last.Body)))
	if rejected.Error != "" {
		small.Error = clip(rejected.Error, 2048)
	}
	small.Output, small.StopPod = nil, rejected.StopPod
	body, _ := s.bytes(small, log)
	return record{State: statePending, Body: body, Stream: last.Stream, Failed: true}
}

// delivered remembers that RunPod is through with the job.
func (s *session) delivered(e *entry, last record) {
	last.State = stateDelivered
	s.desk.keep(e, last)
}

// undelivered logs why posting ended early.
func (s *session) undelivered(ctx context.Context, log zerolog.Logger) {
	if errors.Is(context.Cause(ctx), ErrCancelled) {
		log.Info().Msg("Job stopped.")
		return
	}
	log.Warn().AnErr("cause", context.Cause(ctx)).Msg("The worker ends before RunPod took the result; it is posted after the next start.")
}
