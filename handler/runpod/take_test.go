package runpod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

const (
	take  = runpodtest.Take
	stop  = runpodtest.Stop
	ping  = runpodtest.Ping
	final = runpodtest.Final
)

type reply = runpodtest.Reply

func TestCheck01_Throttled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Script(take, reply{Status: 429}, reply{Status: 429, RetryAfter: "1"}, reply{Status: 429})
	b.Give("a", `{}`)
	var runs times
	b.start(runs.handler(echo))
	b.AwaitResult(t, "a")
	least := b.worker.Config.Timing.Throttled
	for i, want := range []time.Duration{least, time.Second, least} {
		if got := gaps(b.Requests(take))[i]; got < want-time.Millisecond {
			t.Errorf("pause %d is %s, want %s at least", i, got, want)
		}
	}
	if runs.of("a") != 1 || len(b.Of(final, "a")) != 1 {
		t.Errorf("the job was run %d times and posted %d times", runs.of("a"), len(b.Of(final, "a")))
	}
}

// steady checks that the pauses between polls that are answered at once grow to a second (scaled) and stay there.
func steady(t *testing.T, b *bench, n int) {
	t.Helper()
	all := gaps(b.Await(t, take, n))
	timing := b.worker.Config.Timing
	for i, got := range all[:n-1] {
		want := timing.Floor
		if i >= 3 {
			want = timing.FloorMax
		}
		if got < want-time.Millisecond {
			t.Errorf("pause %d is %s, want %s at least", i, got, want)
		}
	}
}

func TestCheck02_NothingAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Hold = 0
	b.worker.Config.Timing.Quick = time.Minute // a busy machine is no server that holds polls
	b.start(nil)
	steady(t, b, 20)
}

func TestCheck03_BadRequestIsNormal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.worker.Config.Timing.Quick = time.Minute
	for range 20 {
		b.Script(take, reply{Status: 400})
	}
	b.Give("a", `{}`)
	b.start(nil)
	b.AwaitResult(t, "a")
	steady(t, b, 20)
	if n := b.countLogged("ERROR", ""); n > 0 {
		t.Errorf("%d lines at level ERROR", n)
	}
}

func TestCheck04_ServerErrors(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 5 {
		b.Script(take, reply{Status: 500})
	}
	b.Give("a", `{}`)
	var runs times
	b.start(runs.handler(echo))
	b.AwaitResult(t, "a")
	wait := b.worker.Config.Timing.ServerRetry
	for i, want := range []time.Duration{0, wait, 2 * wait, 4 * wait, 8 * wait} {
		if got := gaps(b.Requests(take))[i]; got < want-time.Millisecond {
			t.Errorf("pause %d is %s, want %s at least", i, got, want)
		}
	}
	if runs.of("a") != 1 {
		t.Errorf("the job was run %d times", runs.of("a"))
	}
	if n := b.countLogged("ERROR", "Failed to get job."); n < 1 || n > 5 {
		t.Errorf("%d errors logged for 5 attempts", n)
	}
}

func TestCheck05_Unauthorized(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.worker.Config.Timing = runpod.DefaultTiming().Scaled(1.0 / 300) // 30 s are 100 ms
	b.worker.Config.Timing.Poll = time.Minute
	b.Always(take, reply{Status: 403})
	b.Script(take, reply{Status: 401})
	b.start(nil)
	all := gaps(b.Await(t, take, 24))
	for i, got := range all {
		if want := b.worker.Config.Timing.AuthRetryMax; i >= 5 && got < want-time.Millisecond {
			t.Errorf("pause %d is %s, want %s at least", i, got, want)
		}
	}
	if n := b.countLogged("ERROR", "Failed to get job."); n < 1 || n > 2 {
		t.Errorf("%d errors logged for %d attempts", n, len(all)+1)
	}
	if err := b.end(); err != nil {
		t.Errorf("Run returns %v", err)
	}
}

func TestCheck06_NoJobInTheAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Script(take, reply{Type: "text/html", Body: `{"id":"no","input":{}}`}, reply{}, reply{Body: `{"id":"no",`},
		reply{Body: "null"}, reply{Body: "7"}, reply{Body: `"no"`}, reply{Body: "[]"}, reply{Body: "[{]"}, reply{Status: 302})
	b.Give("a", `{}`)
	b.start(nil)
	b.AwaitResult(t, "a")
	if n := len(b.Requests(final)); n != 1 {
		t.Errorf("%d results", n)
	}
}

func TestCheck07_MissingInput(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var runs times
	b.GiveRaw(`{"id":"x"}`)
	b.GiveRaw(`{"id":"y","input":null}`)
	b.GiveRaw(`{"input":{"secret":"CANARY"}}`)
	b.GiveRaw(`{"id":7,"input":{}}`) // a number is an id, too
	b.start(runs.handler(echo))
	for _, id := range []string{"x", "y"} {
		if got := errorOf(t, b.AwaitResult(t, id)); !strings.Contains(got, "input is missing or empty") {
			t.Errorf("%s: the error is %q", id, got)
		}
		if runs.of(id) > 0 {
			t.Errorf("%s was run", id)
		}
	}
	if took := b.Of(final, "x")[0].At.Sub(b.began); took > time.Second {
		t.Errorf("x was answered after %s", took)
	}
	b.AwaitResult(t, "7")
	if n := len(b.Requests(final)); n != 3 {
		t.Errorf("%d results", n)
	}
	if b.countLogged("ERROR", "only the fields input") != 1 || strings.Contains(b.log.String(), "CANARY") {
		t.Error("the job without an id is not logged, or more of it than its fields' names")
	}
}

func TestCheck08_InputOfAnyType(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	inputs := map[string]string{"s": `"text"`, "l": `[1,2]`, "n": `7`}
	for id, input := range inputs {
		b.Give(id, input)
	}
	b.start(func(_ context.Context, job runpod.Job, _ runpod.Reporter) (runpod.Result, error) {
		var fields struct{ Prompt string }
		if err := json.Unmarshal(job.Input, &fields); err != nil {
			return runpod.Result{}, runpod.Fail("invalid_input", "The input must be an object, not %s.", job.Input)
		}
		return runpod.Result{}, nil
	})
	for id, input := range inputs {
		if got := errorOf(t, b.AwaitResult(t, id)); got != "The input must be an object, not "+input+"." {
			t.Errorf("%s: the error is %q", id, got)
		}
	}
}

func TestCheck09_TakeAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ template, query string }{
		{"{base}/job-take/$ID?gpu=A", "gpu=A&"},
		{"{base}/job-take/$RUNPOD_POD_ID?gpu=A", "gpu=A&"},
		{"{base}/job-take/${RUNPOD_POD_ID}?gpu=A&", "gpu=A&"},
		{"{base}/job-take/$ID?", ""},
		{"{base}/job-take/$RUNPOD_POD_ID", ""},
	} {
		b := newBench(t, "RUNPOD_WEBHOOK_GET_JOB="+c.template, "WORKER_CONCURRENCY=2")
		gate := newGated()
		b.Give("a", `{}`)
		b.start(gate.handle)
		polls := b.Await(t, take, 2)
		for i, want := range []string{"batch_size=2&job_in_progress=0", "job_in_progress=1"} {
			if got := polls[i]; got.Worker != runpodtest.Worker || got.RawQuery != c.query+want {
				t.Errorf("%s: poll %d is %s?%s, want the query %s", c.template, i, got.Path, got.RawQuery, c.query+want)
			}
		}
		close(gate.let)
		b.AwaitResult(t, "a")
		if err := b.end(); err != nil {
			t.Error(err)
		}
	}
}

func TestCheck10_QueryIsKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Give("a", `{}`)
	b.start(func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		r.Progress("working")
		return runpod.Result{}, r.Stream(1)
	})
	b.AwaitResult(t, "a")
	b.Await(t, stop, 1)
	for _, kind := range []runpodtest.Kind{take, stop, ping, final, runpodtest.Chunk} {
		for _, r := range b.Await(t, kind, 1) {
			if !strings.HasPrefix(r.RawQuery+"&", runpodtest.Query+"&") {
				t.Errorf("%s: the query is %s", kind, r.RawQuery)
			}
		}
	}
}

func TestCheck11_Batches(t *testing.T) {
	t.Parallel()
	b := newBench(t, "WORKER_CONCURRENCY=3")
	gate := newGated()
	b.start(gate.handle)
	b.Await(t, take, 1)
	b.Give("a", `{}`)
	polls := b.Await(t, take, 2)
	last := func() string { polls = b.Requests(take); return polls[len(polls)-1].RawQuery }
	if polls[0].Batch != 3 || !strings.Contains(polls[0].Path, "/job-take-batch/") || !strings.Contains(polls[0].RawQuery, "batch_size=3&job_in_progress=0") {
		t.Errorf("the first poll is %s?%s", polls[0].Path, polls[0].RawQuery)
	}
	b.Until(t, func() bool { return strings.Contains(last(), "batch_size=2&job_in_progress=1") }, "a batch of two")
	b.Give("b", `{}`)
	b.Until(t, func() bool { return strings.HasSuffix(last(), "A5000&job_in_progress=1") }, "a plain take")
	close(gate.let)
	b.AwaitResult(t, "a")
	b.AwaitResult(t, "b")

	// A list with bad elements among good ones.
	b.Until(t, func() bool { return strings.Contains(last(), "batch_size=3") }, "all places free")
	b.Script(take, reply{Body: `[{"id":"c","input":1},7,{"id":"d"},{"id":"e","input":2}]`})
	for _, id := range []string{"c", "d", "e"} { // the server has not given these out itself
		b.Expect(fmt.Sprintf(`for the job %q, which was never given out`, id))
	}
	b.Until(t, func() bool { return len(b.Of(final, "c"))*len(b.Of(final, "d"))*len(b.Of(final, "e")) > 0 }, "results of c, d and e")
	errorOf(t, string(b.Of(final, "d")[0].Body))
	if b.countLogged("ERROR", "without an id") != 1 {
		t.Error("the bad element is not logged")
	}
}

func TestCheck12_GivenOutTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t, "WORKER_CONCURRENCY=2")
	var runs times
	gate := newGated()
	b.Give("a", `{"n":1}`)
	b.Give("a", `{"n":1}`)
	b.start(runs.handler(gate.handle))
	b.Until(t, func() bool { return runs.of("a") == 1 }, "the job to run")
	b.Again("a")
	b.Until(t, func() bool { return b.countLogged("WARN", "not run twice") == 2 }, "both duplicates to be refused")
	close(gate.let)
	first := b.AwaitResult(t, "a")
	awaitIdle(t, b.Server)

	b.Again("a")
	b.Until(t, func() bool { return len(b.Of(final, "a")) == 2 }, "the stored result")
	if again := string(b.Of(final, "a")[1].Body); again != first {
		t.Errorf("the second post is %s, the first one was %s", again, first)
	}
	if runs.of("a") != 1 {
		t.Errorf("the job was run %d times", runs.of("a"))
	}
}

// awaitIdle waits for a take poll that says that nothing is in progress.
func awaitIdle(t *testing.T, s *runpodtest.Server) {
	t.Helper()
	since := time.Now()
	s.Until(t, func() bool {
		polls := s.Requests(take)
		last := polls[len(polls)-1]
		return last.At.After(since) && strings.Contains(last.RawQuery, "job_in_progress=0")
	}, "the worker to be idle")
}

func TestCheck13_KeyIsNeverLogged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Always(ping, reply{Status: 401, Body: "bad key " + runpodtest.Key})
	b.Script(take, reply{Status: 401, Body: "bad key " + runpodtest.Key})
	b.Give("a", `{}`)
	b.start(func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		r.Progress("p")
		return runpod.Result{}, r.Stream("c")
	})
	b.AwaitResult(t, "a")
	b.Await(t, stop, 1)
	b.Until(t, func() bool { return b.countLogged("WARN", "A ping failed") > 0 }, "the failed ping to be logged")
	for _, kind := range []runpodtest.Kind{take, stop, ping, final, runpodtest.Chunk} {
		for _, r := range b.Await(t, kind, 1) {
			if got := r.Header.Get("Authorization"); got != runpodtest.Key {
				t.Errorf("%s: the Authorization header is %q", kind, got)
			}
		}
	}
	if strings.Contains(b.log.String(), runpodtest.Key) || !strings.Contains(b.log.String(), "bad key REDACTED") {
		t.Error("the key is in the log, or the answers are not")
	}
}

func TestCheck14_HeldPoll(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.worker.Config.Timing = runpod.DefaultTiming().Scaled(1.0 / 150) // 90 s are 600 ms
	b.Hold = runpodtest.Patience
	b.start(nil)
	polls := b.Await(t, take, 4)
	for i, r := range polls[:3] {
		if held := r.Ended.Sub(r.At); held < 400*time.Millisecond || !r.Gone {
			t.Errorf("poll %d ended after %s, given up: %v", i, held, r.Gone)
		}
	}
	for i, gap := range gaps(polls[:3]) {
		if gap > 300*time.Millisecond {
			t.Errorf("pause %d is %s", i, gap)
		}
	}
	if n := b.countLogged("ERROR", ""); n > 0 {
		t.Errorf("%d errors in the log", n)
	}
}
