package runpod

import (
	"context"
	"net/url"
	"strings"
	"time"
)

// pingLoop tells RunPod at every interval that the worker lives and which jobs it has. There is never more than one ping
// under way: what falls into a slow one is skipped.
func (s *session) pingLoop(ctx context.Context) {
	interval := s.c.pingInterval()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failures := 0
	for {
		for try := range 3 {
			if s.ping(ctx, max(2*interval, s.t.PingTimeoutMin), &failures) || try == 2 || !pause(ctx, s.t.PingRetry<<try) {
				break
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) ping(ctx context.Context, timeout time.Duration, failures *int) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := s.api.beat(ctx, s.pingURL())
	if a.err == nil && a.status < 400 {
		*failures = 0
		return true
	}
	if *failures%10 == 0 && ctx.Err() != context.Canceled {
		s.log.Warn().Int("failures", *failures+1).Msgf("A ping failed: %s", a)
	}
	*failures++
	return false
}

func (s *session) pingURL() string {
	var pairs []string
	if ids := s.desk.ids(); len(ids) > 0 {
		pairs = append(pairs, "job_id="+url.QueryEscape(strings.Join(ids, ",")))
	}
	return withQuery(s.to.ping, append(pairs, "runpod_version="+url.QueryEscape(s.version))...)
}

// pings starts the heartbeat. end stops it after a last ping, unless the worker must stop at once.
func (s *session) pings() (end func(last bool)) {
	if s.to.ping == "" || s.c.APIKey == "" {
		s.log.Info().Msg("There is no heartbeat: RUNPOD_WEBHOOK_PING or RUNPOD_AI_API_KEY is not set.")
		return func(bool) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.pingLoop(ctx)
	}()
	return func(last bool) {
		cancel()
		<-ended
		if last {
			var failures int
			s.ping(context.Background(), s.t.LastPing, &failures)
		}
	}
}
