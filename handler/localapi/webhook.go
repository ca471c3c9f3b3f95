package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

const (
	webhookTries   = 3
	webhookPause   = 10 * time.Second
	webhookTimeout = 10 * time.Second
	webhooksAtOnce = 16
)

// delivery is what a webhook is sent: RunPod's body.
type delivery struct {
	Status
	Input   json.RawMessage `json:"input,omitempty"`
	Webhook string          `json:"webhook"`
}

// notify posts how a job ended to its webhook, in the background.
func (s *Server) notify(work runpod.Job, status Status) {
	body, err := runpod.Encode(delivery{status, work.Input, work.Webhook})
	if err != nil {
		s.Log.Error().Err(err).Str("job", work.ID).Msg("The webhook's body cannot be written.")
		return
	}
	s.webhooks.Go(func() {
		select {
		case s.webhookPlaces <- struct{}{}:
			defer func() { <-s.webhookPlaces }()
		case <-s.hard.Done():
			return
		}
		s.deliver(s.hard, work, body)
	})
}

// deliver tries until the webhook answers with 200. Of its address only the host is logged: the rest may be a secret.
func (s *Server) deliver(ctx context.Context, work runpod.Job, body []byte) {
	log := s.Log.With().Str("job", work.ID).Logger()
	if u, err := url.Parse(work.Webhook); err == nil {
		log = log.With().Str("webhook", u.Host).Logger()
	}
	for try := 1; ; try++ {
		status, err := s.post(ctx, work.Webhook, body)
		if err == nil && status == http.StatusOK {
			log.Info().Int("try", try).Msg("The webhook was told.")
			return
		}
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		event := log.Warn().Int("try", try).AnErr("cause", err)
		if err == nil {
			event = event.Int("status", status)
		}
		if try == webhookTries {
			event.Msg("The webhook was not told; it is given up.")
			return
		}
		event.Msg("The webhook was not told; it is tried again.")
		select {
		case <-time.After(webhookPause):
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) post(ctx context.Context, address string, body []byte) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "humo-worker/"+s.Version)
	client := *s.Webhooks
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a redirected POST is no POST any more
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()                               //nolint:errcheck // only read from
	io.Copy(io.Discard, io.LimitReader(answer.Body, 4<<10)) //nolint:errcheck // the connection is used again if it works
	return answer.StatusCode, nil
}
