//go:build long

package runpod_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

const (
	chaosJobs    = 500
	chaosKills   = 50
	chaosCancels = 60
)

// TestChaos kills the worker again and again while the queue answers at random, and counts what became of every job.
func TestChaos(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := runpodtest.Start(t)
	s.Lease = 700 * time.Millisecond
	var trouble atomic.Int64
	s.Decide = func(r runpodtest.Request) *reply {
		answer := troubleFor(r.Kind)
		if answer != nil {
			trouble.Add(1)
		}
		return answer
	}
	c := newChild(t, s, "WORKER_CONCURRENCY=3", "RUNPOD_PING_INTERVAL=50", "WORKER_PROGRESS_MIN_INTERVAL=50ms", "RUNPOD_LOG_LEVEL=WARN")

	random := rand.New(rand.NewPCG(seed, 0))
	ids := make([]string, chaosJobs)
	wants := map[string]string{}
	for i := range ids {
		id, do, want := fmt.Sprintf("job-%03d", i), "echo", `{"output":{"id":"job-%03d"`
		switch n := random.IntN(20); n {
		case 0:
			do, want = "fail", `{"output":{"error_code":"told_to"`
		case 1:
			do, want = "panic", `{"error":"{`
		}
		ids[i] = id
		wants[id] = strings.Replace(want, "job-%03d", id, 1)
		s.Give(id, fmt.Sprintf(`{"do":%q,"ms":%d}`, do, 20+random.IntN(500)))
	}

	// The clients cancel, and the queue gives out jobs once more, whatever has become of them.
	over := make(chan struct{})
	var cancels, repeats atomic.Int64
	go func() {
		random := rand.New(rand.NewPCG(seed, 1))
		for {
			select {
			case <-over:
				return
			case <-time.After(time.Duration(20+random.IntN(60)) * time.Millisecond):
			}
			id := ids[random.IntN(len(ids))]
			fate := s.Fate(id)
			if cancels.Load() < chaosCancels && random.IntN(6) == 0 && fate.Result == "" && !fate.Cancelled {
				cancels.Add(1)
				s.Cancel(id)
				continue
			}
			// After two minutes the worker may take a failed or cancelled job's return for a retry.
			old := fate.Result != "" && time.Since(fate.At) > time.Minute || !fate.Stopped.IsZero() && time.Since(fate.Stopped) > time.Minute
			if fate.Given > 0 && !old {
				repeats.Add(1)
				s.Again(id)
			}
		}
	}()

	began := time.Now()
	for range chaosKills {
		worker := c.start()
		time.Sleep(time.Duration(150+random.IntN(1700)) * time.Millisecond)
		worker.Process.Kill() //nolint:errcheck // Wait reports what happened
		worker.Wait()         //nolint:errcheck // it was killed
		s.Restarted()
	}
	last := c.start()
	settled := func() (n int) {
		for _, id := range ids {
			if fate := s.Fate(id); fate.Result != "" || fate.Cancelled {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(2 * time.Minute); settled() < chaosJobs && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(3 * s.Lease) // for what must not come
	close(over)
	c.terminate(last, 0)
	took := time.Since(began)

	results, cancelled, duplicates, again := 0, 0, 0, 0
	for _, id := range ids {
		fate := s.Fate(id)
		duplicates += fate.Duplicate
		switch {
		case fate.Cancelled && fate.Result == "":
			cancelled++
		case !strings.HasPrefix(fate.Result, wants[id]):
			t.Errorf("%s: the result is %.200q, want %s…; it was given out %d times", id, fate.Result, wants[id], fate.Given)
		default:
			results++
		}
	}
	book := c.diary()
	runs := map[string]int{} // by job and process
	for _, e := range book.all {
		fate := s.Fate(e.id)
		switch e.event {
		case "start":
			runs[e.id+" in process "+e.pid]++
			if fate.Result != "" && e.at.After(fate.At) {
				t.Errorf("%s was run %s after its result was accepted", e.id, e.at.Sub(fate.At))
			}
			if !fate.Stopped.IsZero() && e.at.After(fate.Stopped) {
				t.Errorf("%s was run %s after it was cancelled", e.id, e.at.Sub(fate.Stopped))
			}
		case "end":
			if late := e.at.Sub(fate.Stopped); !fate.Stopped.IsZero() && late > 100*time.Millisecond {
				t.Errorf("%s ran on for %s after it was cancelled", e.id, late)
			}
		}
	}
	for run, n := range runs {
		if n > 1 {
			t.Errorf("%s was run %d times", run, n)
		}
	}
	for _, n := range book.starts {
		again += n - 1
	}
	t.Logf("%d jobs in %s: %d results accepted once each, %d cancelled; %d kills, %d runs repeated because a kill ended them;"+
		" %d further deliveries by the queue, %d results posted again and refused; %d answers in trouble",
		chaosJobs, took.Round(time.Second), results, cancelled, chaosKills, again, repeats.Load(), duplicates, trouble.Load())
	if results+cancelled != chaosJobs || cancelled == 0 || again == 0 || duplicates == 0 {
		t.Error("jobs are missing, or the chaos was too tame to prove anything")
	}
}

// troubleFor is what goes wrong with a request, or nil.
func troubleFor(kind runpodtest.Kind) *reply {
	lost := reply{After: true, Cut: true}                                                  // done, but the worker does not hear of it
	late := reply{After: true, Delay: time.Duration(50+rand.IntN(250)) * time.Millisecond} // stalled
	var odds []reply
	switch kind {
	case runpodtest.Take:
		odds = []reply{{Status: 500}, {Status: 503}, {Status: 429}, {Status: 400}, {Status: 204}, {Status: 403}, {Cut: true}, lost, late, late}
	case runpodtest.Stop:
		odds = []reply{{Status: 500}, {Status: 429}, {Status: 204}, {Status: 404}, {Cut: true}, {Body: "[", Type: "text/html"}, late}
	case runpodtest.Final:
		odds = []reply{{Status: 503}, {Status: 500}, {Status: 429}, {Status: 408}, {Cut: true}, {Cut: true}, {Status: 502, After: true}, lost, lost, late, late}
	default:
		odds = []reply{{Status: 500}, {Cut: true}, lost, late}
	}
	if rand.IntN(100) >= 25 {
		return nil
	}
	return &odds[rand.IntN(len(odds))]
}
