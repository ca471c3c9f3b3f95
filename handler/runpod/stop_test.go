package runpod_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

const progress = runpodtest.Progress

// TestCheck31_Cancelled: the handler's context ends, it cleans up, and nothing more is heard of the job. (That an end of
// the context ends the generator and the upload is the handler's promise and tested there.)
func TestCheck31_Cancelled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	scratch := filepath.Join(t.TempDir(), "clip")
	began, ended := make(chan bool, 1), make(chan error, 1)
	b.Give("j1", `{}`)
	b.Give("j2", `{}`)
	b.start(func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		if job.ID == "j2" {
			return echo(ctx, job, r)
		}
		if err := os.WriteFile(scratch, nil, 0o600); err != nil {
			return runpod.Result{}, err
		}
		defer os.Remove(scratch) //nolint:errcheck // looked at below
		r.Progress(1)
		began <- true
		<-ctx.Done()
		ended <- context.Cause(ctx)
		r.Progress(2)
		return runpod.Result{Output: "too late"}, nil
	})
	<-began
	b.Await(t, progress, 1)
	b.Cancel("j1")
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "cancelled") {
			t.Errorf("the context's cause is %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler's context has not ended after 10 s")
	}
	b.AwaitResult(t, "j2")
	time.Sleep(200 * time.Millisecond) // for what must not come
	if n := len(b.Of(final, "j1")); n > 0 {
		t.Errorf("%d results of a cancelled job", n)
	}
	if n := len(b.Of(progress, "j1")); n != 1 {
		t.Errorf("%d progress posts", n)
	}
	if _, err := os.Stat(scratch); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is still there: %v", err)
	}
	if b.countLogged("INFO", "Stopping job.") != 1 || b.countLogged("INFO", "Job stopped.") != 1 {
		t.Error("the lines about the stop are missing")
	}
}

// TestCheck31_CancelledBeforeItArrives: the stop signal overtakes the job, and a job is given out again after its end.
func TestCheck31_CancelledBeforeItArrives(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var runs times
	b.Script(stop, reply{Body: `{"jobsToStop":["early"]}`})
	b.start(runs.handler(echo))
	b.Await(t, stop, 2) // the worker has read the signal
	b.Give("early", `{}`)
	b.Give("j2", `{}`)
	b.AwaitResult(t, "j2")
	if n := runs.of("early") + len(b.Of(final, "early")); n > 0 {
		t.Error("a job was run after it was cancelled")
	}
	if b.countLogged("INFO", "has been cancelled") != 1 {
		t.Error("that is not logged")
	}
}

// TestCheck31_HandlerDoesNotStop: nothing is posted, and the worker leaves because nothing else frees what the job holds.
func TestCheck31_HandlerDoesNotStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	forever := make(chan struct{})
	defer close(forever)
	b.Give("j1", `{}`)
	b.Give("j2", `{}`)
	b.start(func(context.Context, runpod.Job, runpod.Reporter) (runpod.Result, error) {
		<-forever
		return runpod.Result{}, nil
	})
	b.Until(t, func() bool { return b.countLogged("INFO", "Started.") == 1 }, "the job to run")
	b.Cancel("j1")
	if err := b.wait(); err != nil {
		t.Errorf("Run returns %v", err)
	}
	if len(b.Requests(final)) > 0 || b.Fate("j2").Given > 0 {
		t.Error("something was posted, or another job taken")
	}
}

func TestCheck32_StopSignalsThatAreNone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Script(stop, reply{Body: `{"jobsToStop":["unknown"]}`}, reply{Body: `{"jobsToStop":"x"}`}, reply{Body: `{"jobsToStop":[1,"j9"]}`},
		reply{Type: "text/html", Body: "<p>"}, reply{Body: `[`}, reply{Body: `{}`}, reply{Status: 500}, reply{Status: 404}, reply{Status: 404}, reply{Status: 429})
	gate := newGated()
	b.Give("a", `{}`)
	b.start(gate.handle)
	polls := b.Await(t, stop, 11)
	pause, throttled := b.worker.Config.Timing.StopPause, b.worker.Config.Timing.Throttled
	for i, want := range []time.Duration{0, pause, 0, pause, pause, pause, pause, pause, 2 * pause, throttled} {
		if got := gaps(polls)[i]; got < want-time.Millisecond {
			t.Errorf("pause %d is %s, want %s at least", i, got, want)
		}
	}
	close(gate.let)
	b.AwaitResult(t, "a")
	if n := b.countLogged("WARN", "no stop channel"); n != 1 {
		t.Errorf("%d warnings about a missing stop channel", n)
	}
}

func TestCheck33_StopAddress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.start(nil)
	if p := b.Await(t, stop, 1)[0]; p.Path != "/v2/ep1/job-stop/"+runpodtest.Worker || p.RawQuery != runpodtest.Query {
		t.Errorf("the stop poll is %s?%s", p.Path, p.RawQuery)
	}
}

func TestCheck34_NoStopChannel(t *testing.T) {
	t.Parallel()
	b := newBench(t, "RUNPOD_WEBHOOK_GET_JOB={base}/next/$ID?gpu=A", "WORKER_CONCURRENCY=2")
	b.Give("a", `{}`)
	b.start(nil)
	b.AwaitResult(t, "a")
	if n := len(b.Requests(stop)); n > 0 {
		t.Errorf("%d stop polls", n)
	}
	if n := b.countLogged("WARN", "cannot be stopped"); n != 1 {
		t.Errorf("%d warnings", n)
	}
	if p := b.Requests(take)[0]; p.Batch != 1 || p.RawQuery != "gpu=A&job_in_progress=0" {
		t.Errorf("the take poll is %s?%s", p.Path, p.RawQuery)
	}
}

func TestCheck35_CancelledWhilePosting(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Always(final, reply{Status: 503})
	b.Give("a", `{}`)
	b.start(nil)
	b.Await(t, final, 2)
	b.Cancel("a")
	b.Until(t, func() bool { return b.countLogged("INFO", "Job stopped.") == 1 }, "the job to be stopped")
	n := len(b.Requests(final))
	b.Usual(final)
	b.Give("b", `{}`)
	b.AwaitResult(t, "b")
	time.Sleep(2 * b.worker.Config.Timing.PostRetry << 3)
	if now := len(b.Of(final, "a")); now != n {
		t.Errorf("%d posts after the cancellation", now-n)
	}
}

// TestCheck35_CancelledAfterPosting: the signal comes after RunPod has refused the result; it is not posted again.
func TestCheck35_CancelledAfterPosting(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Script(final, reply{Status: 404})
	var runs times
	b.Give("a", `{}`)
	b.start(runs.handler(echo))
	b.Await(t, final, 1)
	awaitIdle(t, b.Server)
	b.Cancel("a")
	b.Until(t, func() bool { return !b.Fate("a").Stopped.IsZero() }, "the signal to be read")
	b.Again("a")
	b.Give("b", `{}`)
	b.AwaitResult(t, "b")
	if n := len(b.Of(final, "a")); n != 1 || runs.of("a") != 1 {
		t.Errorf("%d posts and %d runs", n, runs.of("a"))
	}
	if b.countLogged("INFO", "has been cancelled") != 1 {
		t.Error("the job did not come again")
	}
}

// TestCheck35_DeadlineOfItsOwn: the worker's own limit answers before RunPod's would.
func TestCheck35_DeadlineOfItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.GiveRaw(`{"id":"policy","input":{},"policy":{"executionTimeout":200}}`)
	gate := newGated()
	b.start(gate.handle)
	p := read(t, b.AwaitResult(t, "policy"))
	if p.Error == nil || !strings.Contains(*p.Error, "190ms") || !strings.Contains(string(p.Output), `"error_code":"job_timeout"`) {
		t.Errorf("the result is %s", b.Result("policy"))
	}
}
