package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

const maxRedirects = 5

// follow sends a request along redirects, up to an answer that is none or that is enough.
func (h *hub) follow(ctx context.Context, method string, at *url.URL, header http.Header, enough func(*http.Response) bool) (*http.Response, error) {
	for range maxRedirects {
		r, err := h.send(ctx, method, at, header)
		if err != nil {
			return nil, err
		}
		redirect := r.StatusCode >= 301 && r.StatusCode <= 308 && r.Header.Get("Location") != ""
		if enough != nil && enough(r) || !redirect {
			return r, nil
		}
		_, _ = io.CopyN(io.Discard, r.Body, 4<<10) // so that the connection can be used again
		_ = r.Body.Close()
		next, err := r.Location()
		if err != nil || at.Scheme == "https" && next.Scheme != "https" {
			return nil, fault.New("hub_answer", "HF_ENDPOINT", "%s redirects to what is no https address", at.Host)
		}
		at = next
	}
	return nil, fault.New("hub_answer", "HF_ENDPOINT", "%s sends requests round in circles", at.Host)
}

// send sends one request, when the host wants to hear from us. The token goes to the endpoint only: Go's own client would
// hand it on to sub-domains and to other ports.
func (h *hub) send(ctx context.Context, method string, at *url.URL, header http.Header) (*http.Response, error) {
	if err := h.comeBack(ctx, at.Host); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, method, at.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, fault.New("hub_answer", "HF_ENDPOINT", "%s gives an address that is none", h.endpoint.Host)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "humo-worker")
	req.Header.Set("Accept-Encoding", "identity")
	if h.token != "" && sameOrigin(at, h.endpoint) {
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	timer := time.AfterFunc(h.limits.silence, func() { cancel(errSilence) })
	r, err := h.client.Do(req)
	if err != nil {
		timer.Stop()
		cause := context.Cause(ctx)
		cancel(nil)
		if errors.Is(cause, errSilence) {
			err = errSilence
		}
		return nil, &again{fmt.Errorf("%s: %w", at.Host, withoutURL(err))}
	}
	r.Body = &watched{ReadCloser: r.Body, ctx: ctx, cancel: cancel, timer: timer, silence: h.limits.silence}
	return r, nil
}

var errSilence = errors.New("the connection is silent")

// watched is a body whose request ends when nothing arrives for some time.
type watched struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	silence time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.timer.Reset(w.silence)
	}
	if err != nil && errors.Is(context.Cause(w.ctx), errSilence) {
		err = errSilence
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.ReadCloser.Close()
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }
