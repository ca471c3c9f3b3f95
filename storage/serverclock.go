package storage

import (
	"net/http"
	"sync/atomic"
	"time"
)

// serverClock passes requests on and remembers from the answers' dates how far the server's clock is ahead of ours. Links
// are signed by the server's: it alone decides whether they are good, and a machine's clock may be hours or years off. (The
// SDK corrects the time of requests in the same way, but not that of links.)
type serverClock struct {
	next  http.RoundTripper
	ahead atomic.Int64 // nanoseconds
}

// clockTolerance is what a date in whole seconds and an answer's way may make of a clock that is right.
const clockTolerance = time.Minute

func (c *serverClock) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		ahead := time.Until(date)
		if ahead.Abs() < clockTolerance {
			ahead = 0
		}
		c.ahead.Store(int64(ahead))
	}
	return answer, nil
}

func (c *serverClock) CloseIdleConnections() {
	if closer, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// of is what the server's clock shows when ours shows now.
func (c *serverClock) of(now time.Time) time.Time { return now.Add(time.Duration(c.ahead.Load())) }
