package storage

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// attempts are made at one request. The pauses between them, of which jitter takes up to a half, double from a second
// up to maxPause: 17 seconds on average for all five.
const attempts = 6

var maxPause = 8 * time.Second // a variable for the tests

// pause is how long to wait after the attempt of this number, from 1.
func pause(attempt int) time.Duration {
	d := min(maxPause, time.Second<<min(attempt-1, 10))
	return d/2 + rand.N(d/2)
}

// idleLimit ends a request on which nothing has moved for so long; there is no limit on the whole of one.
const idleLimit = time.Minute

// maxAnswer bounds what is read of an answer. The largest that is wanted is that of Get.
const maxAnswer = 2 * MaxGet

var errAnswerTooLong = errors.New("the server's answer does not end")

// stalled is the error of a request on which nothing moves.
type stalled struct{}

func (stalled) Error() string   { return "nothing was sent or received for " + idleLimit.String() }
func (stalled) Timeout() bool   { return true }
func (stalled) Temporary() bool { return true }

// defaultTransport is of this package alone, so that closing its idle connections touches nobody else's.
var defaultTransport = sync.OnceValue(func() http.RoundTripper {
	return http.DefaultTransport.(*http.Transport).Clone()
})

// patientClient is client, for long uploads: it may take any time as long as something moves, answers are bounded, and
// redirects are answers, since a signature is for one host.
func patientClient(client *http.Client) *http.Client {
	next := defaultTransport()
	if client != nil {
		if next = client.Transport; next == nil {
			next = http.DefaultTransport
		}
	}
	return &http.Client{
		Transport:     patientTransport{next, idleLimit},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type patientTransport struct {
	next http.RoundTripper
	idle time.Duration
}

func (p patientTransport) CloseIdleConnections() {
	if c, ok := p.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (p patientTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(p.idle, func() { cancel(stalled{}) })
	moved := func() { timer.Reset(p.idle) }
	end := func() {
		timer.Stop()
		cancel(nil)
	}
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &movingBody{ReadCloser: req.Body, moved: moved}
	}
	answer, err := p.next.RoundTrip(req)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, stalled{}) {
			err = cause
		}
		end()
		return nil, err
	}
	moved()
	answer.Body = &movingBody{ReadCloser: answer.Body, moved: moved, closed: end, left: maxAnswer, bounded: true}
	return answer, nil
}

// movingBody tells of every byte that passes.
type movingBody struct {
	io.ReadCloser
	moved   func()
	closed  func()
	bounded bool
	left    int64
}

func (b *movingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.moved()
	}
	if b.left -= int64(n); b.bounded && b.left < 0 {
		return 0, errAnswerTooLong
	}
	return n, err
}

func (b *movingBody) Close() error {
	err := b.ReadCloser.Close()
	if b.closed != nil {
		b.closed()
	}
	return err
}
