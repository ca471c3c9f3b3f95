package runpod_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

func TestCheck15_Heartbeat(t *testing.T) {
	t.Parallel()
	b := newBench(t, "RUNPOD_PING_INTERVAL=1000", "WORKER_CONCURRENCY=2")
	b.worker.Config.Timing = runpod.DefaultTiming()
	loaded := make(chan time.Time, 1)
	b.worker.Prestart = func(ctx context.Context) error {
		time.Sleep(1200 * time.Millisecond)
		loaded <- time.Now()
		return nil
	}
	gate := newGated()
	b.start(gate.handle)
	b.Await(t, ping, 2)
	b.Give("a", `{}`)
	b.Give("b", `{}`)
	pings := b.Await(t, ping, 5)
	if first := pings[0].At; first.Sub(b.began) > 200*time.Millisecond || !first.Before(<-loaded) {
		t.Errorf("the first ping came after %s", first.Sub(b.began))
	}
	if span := pings[4].At.Sub(pings[0].At); span < 3200*time.Millisecond || span > 4800*time.Millisecond {
		t.Errorf("four intervals took %s", span)
	}
	if q := pings[0].RawQuery; strings.Contains(q, "job_id") || !strings.Contains(q, "&runpod_version=go-runpod%2F1.2.3") {
		t.Errorf("without jobs the query is %s", q)
	}
	if q := pings[4].RawQuery; !strings.Contains(q, "&job_id=a%2Cb&runpod_version=") {
		t.Errorf("with jobs the query is %s", q)
	}
	close(gate.let)
}

func TestCheck16_PingsFail(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]reply{"500": {Status: 500}, "hangs": {Delay: time.Minute}, "cut": {Cut: true}} {
		b := newBench(t)
		b.Always(ping, answer)
		b.start(nil)
		b.Give("a", `{}`)
		b.AwaitResult(t, "a")
		pings := b.Await(t, ping, 8)
		for i := 1; i < len(pings)-1; i++ {
			if early := pings[i-1].Ended.Sub(pings[i].At); !pings[i-1].Ended.IsZero() && early > 100*time.Millisecond {
				t.Errorf("%s: ping %d began %s before the one before it had ended", name, i, early)
			}
		}
		if n := b.countLogged("WARN", "A ping failed"); n < 1 || n > 1+len(b.Requests(ping))/10 {
			t.Errorf("%s: %d warnings for %d pings", name, n, len(b.Requests(ping)))
		}
		if err := b.end(); err != nil {
			t.Error(err)
		}
	}
}

func TestCheck17_PingInterval(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{"500": 200 * time.Millisecond, "-3": 200 * time.Millisecond, "abc": 400 * time.Millisecond, "": 400 * time.Millisecond} {
		b := newBench(t, "RUNPOD_PING_INTERVAL="+value)
		b.worker.Config.Timing.PingMin, b.worker.Config.Timing.PingDefault = 200*time.Millisecond, 400*time.Millisecond
		if value == "500" { // below the least interval
			b.worker.Config.PingInterval = "50"
		}
		b.start(nil)
		pings := b.Await(t, ping, 4)
		if span := pings[3].At.Sub(pings[0].At); span < 3*want-100*time.Millisecond {
			t.Errorf("%q: three intervals took %s, want 3 × %s", value, span, want)
		}
		if err := b.end(); err != nil {
			t.Error(err)
		}
	}
}

func TestCheck18_NoHeartbeat(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{"RUNPOD_AI_API_KEY=", "RUNPOD_WEBHOOK_PING="} {
		b := newBench(t, variable)
		b.Open = true
		b.Give("a", `{}`)
		b.start(nil)
		b.AwaitResult(t, "a")
		if err := b.end(); err != nil {
			t.Error(err)
		}
		if n := len(b.Requests(ping)); n > 0 {
			t.Errorf("without %s there are %d pings", variable, n)
		}
		if n := b.countLogged("", "There is no heartbeat"); n != 1 {
			t.Errorf("without %s there are %d lines about it", variable, n)
		}
	}
}

func TestCheck19_PingedUntilDelivered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Always(final, reply{Status: 503})
	b.Give("a", `{}`)
	b.start(nil)
	posts := b.Await(t, final, 4)
	pinged := func(since time.Time, want bool) bool {
		for _, p := range b.Requests(ping) {
			if p.At.After(since) && slices.Contains(p.Pinged, "a") == want {
				return true
			}
		}
		return false
	}
	b.Until(t, func() bool { return pinged(posts[3].At, true) }, "a ping with the job")
	b.Usual(final)
	b.AwaitResult(t, "a")
	at := b.Fate("a").At
	b.Until(t, func() bool { return pinged(at, false) }, "a ping without the job")
}
