package runpod

import (
	"context"
	"math/rand/v2"
	"reflect"
	"time"
)

// Timing is the protocol's clockwork. Nobody needs to set it; tests run it faster.
type Timing struct {
	Poll          time.Duration // a take or stop poll is given up and begun again
	Floor         time.Duration // least pause after a poll that was answered at once with nothing, growing …
	FloorMax      time.Duration // … to this
	Quick         time.Duration // "at once" is faster than this
	Throttled     time.Duration // pause after 429 without Retry-After
	RetryAfterMax time.Duration // a longer Retry-After is not believed

	AuthRetry, AuthRetryMax       time.Duration // after 401 and 403 to a take
	RefusedRetry, RefusedRetryMax time.Duration // after other 4xx to a take
	ServerRetry, ServerRetryMax   time.Duration // after 5xx and broken connections, from the second on

	StopPause    time.Duration // between stop polls that brought nothing
	StopPauseMax time.Duration // the most that it grows to when the server knows no stop channel

	PingDefault, PingMin time.Duration
	PingTimeoutMin       time.Duration
	PingRetry            time.Duration // first of two retries; the second waits twice as long
	LastPing             time.Duration
	Unhealthy            time.Duration // the report of a failed fitness check

	Post                    time.Duration // one attempt; plus a second per MiB
	PostRetry, PostRetryMax time.Duration
	PostAuthRetry           time.Duration // between the four attempts that 401 and 403 get
	ProgressTimeout         time.Duration
	ProgressSettle          time.Duration // pause before the result after a progress post whose end is unknown
	StreamFlush             time.Duration // for chunks still waiting when the handler has returned
	PrestartTake            time.Duration // a last take after a failed Prestart
	Flush                   time.Duration // results under way at shutdown
	Stop                    time.Duration // a handler's time to return after cancellation
	Kill                    time.Duration // from the second SIGTERM to Run's return
	RememberSuccess         time.Duration
	RememberFailure         time.Duration
	RememberCancel          time.Duration
	RememberUndelivered     time.Duration
}

// DefaultTiming is the real world's.
func DefaultTiming() Timing {
	const s = time.Second
	return Timing{
		Poll: 90 * s, Floor: s / 4, FloorMax: s, Quick: s / 4, Throttled: 5 * s, RetryAfterMax: 60 * s,
		AuthRetry: s, AuthRetryMax: 30 * s, RefusedRetry: s, RefusedRetryMax: 15 * s, ServerRetry: s / 2, ServerRetryMax: 10 * s,
		StopPause: s, StopPauseMax: 60 * s,
		PingDefault: 10 * s, PingMin: s, PingTimeoutMin: 5 * s, PingRetry: s, LastPing: s, Unhealthy: 2 * s,
		Post: 30 * s, PostRetry: s / 2, PostRetryMax: 30 * s, PostAuthRetry: 3 * s,
		ProgressTimeout: 5 * s, ProgressSettle: s, StreamFlush: 30 * s,
		PrestartTake: 10 * s, Flush: 30 * s, Stop: 10 * s, Kill: 5 * s,
		RememberSuccess: time.Hour, RememberFailure: 2 * time.Minute, RememberCancel: 2 * time.Minute, RememberUndelivered: 30 * time.Minute,
	}
}

// Scaled is t with every duration multiplied.
func (t Timing) Scaled(by float64) Timing {
	v := reflect.ValueOf(&t).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(float64(v.Field(i).Int()) * by))
	}
	return t
}

// backoff doubles a pause. The jitter only lengthens it, so that limits hold.
type backoff struct {
	first, max time.Duration
	n          int
}

func (b *backoff) next() time.Duration {
	d := b.first
	for range b.n {
		if d *= 2; d >= b.max {
			break
		}
	}
	b.n++
	return jitter(min(d, b.max))
}

func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*float64(d)/4)
}

// pause waits; false: the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// joined is ctx that ends when other ends, too, with that one's cause.
func joined(ctx, other context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}
