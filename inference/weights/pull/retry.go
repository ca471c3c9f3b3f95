package pull

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// again is an error that another try may cure.
type again struct{ err error }

func (a *again) Error() string { return a.err.Error() }
func (a *again) Unwrap() error { return a.err }

// persist calls work until it succeeds, fails for good, or fails limits.tries times in a row without moving on.
func (h *hub) persist(ctx context.Context, what string, work func() (moved bool, err error)) error {
	for failures := 0; ; {
		moved, err := work()
		temporary, ok := errors.AsType[*again](err)
		if err == nil || !ok {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if moved {
			failures = 0
		}
		if failures++; failures >= h.limits.tries {
			return fault.New("hub_unreachable", what, "%d tries in a row failed; what has arrived is kept. Run the same command again to go on, and check the network, a proxy and HF_ENDPOINT if this repeats",
				failures).Because(temporary.err).Again()
		}
		wait := min(h.limits.pause<<min(failures-1, 16), h.limits.longest)
		wait = wait/2 + rand.N(wait/2+1) // so that connections which failed together do not come back together
		event := h.log.Debug()
		if failures == 3 {
			event = h.log.Warn()
		}
		event.Str("file", what).Err(temporary.err).Msgf("Request %d in a row failed; trying again.", failures)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// resetIn finds the seconds of the hub's own header, as in RateLimit: "resolvers";r=0;t=55.
var resetIn = regexp.MustCompile(`;\s*t=(\d{1,9})\b`)

// askedWait is how long an answer asks to stay away; 0 if it does not say.
func askedWait(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 30); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	if m := resetIn.FindStringSubmatch(header.Get("RateLimit")); m != nil {
		if seconds, err := strconv.ParseUint(m[1], 10, 30); err == nil {
			return time.Duration(seconds+1) * time.Second // rounded down over there
		}
	}
	return 0
}

// stayAway keeps all requests from a host for some time: a limit is on the client, not on one of its connections.
func (h *hub) stayAway(host string, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, before := time.Now().Add(d), h.away[host]
	if !until.After(before) {
		return
	}
	h.away[host] = until
	if until.Sub(before) > time.Second { // else another connection has just been told the same
		h.log.Warn().Msgf("%s asks to wait for %s.", host, d.Round(time.Second))
	}
}

func (h *hub) comeBack(ctx context.Context, host string) error {
	for {
		h.mu.Lock()
		left := time.Until(h.away[host])
		h.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if err := sleep(ctx, left); err != nil {
			return err
		}
	}
}

// withoutURL strips an error of the address: a signed one is as good as a key.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
