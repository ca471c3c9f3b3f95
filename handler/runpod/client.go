package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// client speaks HTTP with RunPod. Long polls, heartbeats and posts have connections of their own: none can starve another.
type client struct {
	key, agent              string
	polls, heartbeat, posts *http.Client
}

func newClient(c Config, version string) *client {
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	connections := func() *http.Client {
		return &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
		}}
	}
	agent := fmt.Sprintf("RunPod-Go-Worker/%s (%s; %s) Language/Go %s", version, runtime.GOOS, runtime.GOARCH, strings.TrimPrefix(runtime.Version(), "go"))
	if c.Integration != "" {
		agent += " Integration/" + c.Integration
	}
	return &client{key: string(c.APIKey), agent: agent, polls: connections(), heartbeat: connections(), posts: connections()}
}

func (c *client) close() {
	for _, h := range []*http.Client{c.polls, c.heartbeat, c.posts} {
		h.CloseIdleConnections()
	}
}

// reply is an answer of RunPod, or why there is none.
type reply struct {
	status      int // 0: none
	contentType string
	body        []byte
	retryAfter  time.Duration // 0: not said
	err         error
	unsent      bool // the request cannot have reached the server
	took        time.Duration
}

func (r reply) String() string {
	if r.err != nil {
		return r.err.Error()
	}
	text := strings.TrimSpace(string(r.body[:min(len(r.body), 512)]))
	if text != "" {
		text = ": " + text
	}
	return fmt.Sprintf("HTTP %d%s", r.status, text)
}

const (
	maxTakeBody  = 32 << 20 // requests are limited to 20 MB
	maxReplyBody = 64 << 10
)

// poll gets a long poll's answer.
func (c *client) poll(ctx context.Context, address string) reply {
	request, err := c.request(ctx, http.MethodGet, address, nil)
	if err != nil {
		return reply{err: err, unsent: true}
	}
	request.Header.Set("Content-Type", "application/json") // RunPod's worker sends it, too
	return do(c.polls, request, maxTakeBody)
}

// beat sends a heartbeat.
func (c *client) beat(ctx context.Context, address string) reply {
	request, err := c.request(ctx, http.MethodGet, address, nil)
	if err != nil {
		return reply{err: err, unsent: true}
	}
	return do(c.heartbeat, request, maxReplyBody)
}

// post sends JSON text, under the content type that RunPod wants for it.
func (c *client) post(ctx context.Context, address, jobID string, body []byte) reply {
	request, err := c.request(ctx, http.MethodPost, address, strings.NewReader(string(body)))
	if err != nil {
		return reply{err: err, unsent: true}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("charset", "utf-8")
	request.Header.Set("X-Request-ID", jobID)
	return do(c.posts, request, maxReplyBody)
}

func (c *client) request(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, withoutURL(err)
	}
	if c.key != "" {
		request.Header.Set("Authorization", c.key)
	}
	request.Header.Set("User-Agent", c.agent)
	return request, nil
}

func do(h *http.Client, request *http.Request, limit int64) reply {
	began := time.Now()
	response, err := h.Do(request)
	if err != nil {
		h.CloseIdleConnections() // after a thaw every one of them is dead
		broken, ok := errors.AsType[*net.OpError](err)
		return reply{err: withoutURL(err), unsent: ok && broken.Op == "dial", took: time.Since(began)}
	}
	defer response.Body.Close() //nolint:errcheck // what matters has been read
	r := reply{status: response.StatusCode, took: time.Since(began)}
	r.contentType, _, _ = strings.Cut(response.Header.Get("Content-Type"), ";")
	r.contentType = strings.ToLower(strings.TrimSpace(r.contentType))
	if s, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && s > 0 {
		r.retryAfter = time.Duration(s) * time.Second
	}
	r.body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if r.err = withoutURL(err); err == nil && int64(len(r.body)) > limit {
		r.err = fmt.Errorf("the answer is larger than %d bytes", limit)
	}
	return r
}

// withoutURL drops the address from an error: it is long, and a query may hold secrets.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// wait is how long a throttled caller should wait.
func (r reply) wait(t Timing) time.Duration {
	if r.retryAfter > 0 && r.retryAfter <= t.RetryAfterMax {
		return r.retryAfter
	}
	return t.Throttled
}
