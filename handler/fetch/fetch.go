package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// minBytes is the least that a body must bring in every Config.Patience but the last.
const minBytes = 16_000

// Fetch writes what rawURL leads to, at most limit bytes, to w. After an error w may hold a part of it.
//
// Errors are faults with this package's codes, without a field, retryable where the same URL may work later; an error
// of w as it is; or the cause of ctx's end.
func (c *Client) Fetch(ctx context.Context, rawURL string, w io.Writer, limit int64) error {
	u, err := parse(rawURL)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeoutCause(ctx, c.config.PerURL,
		timeout(u, "did not arrive within %s; use a faster server or a smaller file", c.config.PerURL))
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	response, err := c.get(ctx, u)
	if err != nil {
		return explain(ctx, u, err)
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	if err := acceptable(u, response, limit); err != nil {
		return err
	}
	b := &body{from: response.Body}
	go b.watch(ctx, c.config.Patience, func() {
		cancel(timeout(u, "comes too slowly, at less than %d KB per %s; use a faster server", minBytes/1000, c.config.Patience))
	})
	n, err := io.Copy(w, io.LimitReader(b, limit+1))
	switch {
	case ctx.Err() != nil: // a server that sees the request end may end its answer as if it were whole
		return context.Cause(ctx)
	case b.err != nil:
		return explain(ctx, u, b.err)
	case err == nil && n > limit:
		return tooLarge(limit)
	}
	return err
}

func (c *Client) get(ctx context.Context, u *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "humo-worker") // some hosts refuse Go's
	return c.files.Do(request)
}

// acceptable judges an answer by its head.
func acceptable(u *url.URL, r *http.Response, limit int64) error {
	if r.StatusCode != http.StatusOK {
		return status(u, r.StatusCode)
	}
	// An encoded body would have to be decoded, and a few KB of gzip hold gigabytes.
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return fault.New(CodeEncoded, "", "is sent with the content encoding %.20q (%s); store it without one", encoding, show(u))
	}
	if r.ContentLength > limit {
		return tooLarge(limit)
	}
	return nil
}

func status(u *url.URL, code int) error {
	cure := "check the URL"
	retryable := code >= 500
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		cure = "the URL may have expired or need a signature: presign it anew"
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		retryable = true
	}
	if retryable {
		cure = "try again later"
	}
	problem := fault.New(CodeHTTPStatus, "", "is not given out: the server answers %d %s (%s); %s", code, http.StatusText(code), show(u), cure)
	problem.Retryable = retryable
	return problem
}

func tooLarge(limit int64) error {
	return fault.New(CodeTooLarge, "", "is larger than the limit of %d MB; send a smaller or more strongly compressed file", limit/1_000_000)
}

func timeout(u *url.URL, format string, args ...any) *fault.Error {
	return fault.New(CodeTimeout, "", format+" (%s)", append(args, show(u))...).Again()
}

// explain makes a fault of what broke a request or the reading of its body.
func explain(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // one of ours is a fault
	}
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	cause := safe(err)
	if timing, ok := errors.AsType[net.Error](err); ok && timing.Timeout() {
		return timeout(u, "does not come: the server took too long to be found, to connect or to answer").Because(cause)
	}
	problem := fault.New(CodeUnreachable, "", "cannot be fetched: no connection, or it broke off (%s); see whether the server is up", show(u)).Again()
	switch cause := cause.(type) { //nolint:errorlint // safe has unwrapped it
	case *net.DNSError:
		if cause.IsNotFound {
			problem = fault.New(CodeUnreachable, "", "cannot be fetched: the host's name has no address (%s); check its spelling", show(u))
		}
	case *tls.CertificateVerificationError:
		problem = fault.New(CodeUnreachable, "", "cannot be fetched: the server's certificate is not valid (%s); renew it, or use another host", show(u))
	}
	return problem.Because(cause)
}

// safe picks the part of an error that may be logged. The others repeat what the server sent, or the URL, and with them
// perhaps a signature.
func safe(err error) error {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return fmt.Errorf("%T", err)
		}
		err = inner
	}
}

// body counts what comes and keeps the error of reading apart from that of writing.
type body struct {
	from io.Reader
	n    atomic.Int64
	err  error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.n.Add(int64(n))
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// watch calls tooSlow if a period brings less than minBytes. It ends with ctx.
func (b *body) watch(ctx context.Context, period time.Duration, tooSlow func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for last := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n := b.n.Load()
			if n-last < minBytes {
				tooSlow()
				return
			}
			last = n
		}
	}
}
