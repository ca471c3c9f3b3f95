package runpod_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// TestRetriedByTheClient: an id that comes back long after a failure is a retry, and is run.
func TestRetriedByTheClient(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.worker.Config.Timing.RememberFailure = 300 * time.Millisecond
	b.worker.Config.Timing.RememberCancel = 300 * time.Millisecond
	var runs times
	b.Script(stop, reply{Body: `{"jobsToStop":["cancelled"]}`})
	b.start(runs.handler(func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		if job.ID == "ok" {
			return echo(ctx, job, r)
		}
		return runpod.Result{}, runpod.Fail("busy", "Not now.")
	}))
	b.Await(t, stop, 2)
	b.Give("fails", `{}`)
	b.Give("ok", `{}`)
	b.AwaitResult(t, "fails")
	b.AwaitResult(t, "ok")
	time.Sleep(500 * time.Millisecond)
	b.Again("fails")
	b.Again("ok")
	b.Give("cancelled", `{}`)
	b.AwaitResult(t, "cancelled")
	if runs.of("fails") != 2 || runs.of("ok") != 1 || runs.of("cancelled") != 1 {
		t.Errorf("runs: the failed job %d, the successful one %d, the cancelled one %d", runs.of("fails"), runs.of("ok"), runs.of("cancelled"))
	}
}

// TestStateOfAnotherWorker: two workers do not share a state folder under one id, and do under two.
func TestStateOfAnotherWorker(t *testing.T) {
	t.Parallel()
	first := newBench(t)
	first.start(nil)
	first.Await(t, take, 1)
	same := newBench(t, "WORKER_STATE_DIR="+first.worker.Config.StateDir)
	if err := same.worker.Run(t.Context()); err == nil || !contains(err, "RUNPOD_POD_ID") {
		t.Errorf("Run returns %v", err)
	}
	other := newBench(t, "WORKER_STATE_DIR="+first.worker.Config.StateDir, "RUNPOD_POD_ID=pod-2")
	other.Give("a", `{}`)
	other.start(nil)
	other.AwaitResult(t, "a")
}

// TestStateThatIsUnusable: a worker without a state folder works, and foreign files in it are no jobs.
func TestStateThatIsUnusable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "WORKER_STATE_DIR="+file)
	b.Give("a", `{}`)
	b.start(nil)
	b.AwaitResult(t, "a")
	if b.countLogged("WARN", "WORKER_STATE_DIR cannot be written to") != 1 {
		t.Error("there is no warning")
	}

	b = newBench(t)
	b.Give("a", `{}`)
	b.start(nil)
	b.AwaitResult(t, "a")
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	state, data := b.onlyRecord(t)
	for name, text := range map[string]string{"torn.json": string(data[:len(data)/2]), "copy.json": string(data), "left.json.partial": "{"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(state), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := newBench(t, "WORKER_STATE_DIR="+b.worker.Config.StateDir)
	again.start(nil)
	again.Await(t, take, 2)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(state), "*.json*")); len(left) != 1 {
		t.Errorf("the state folder holds %q", left)
	}
	if n := len(again.Requests(final)); n > 0 {
		t.Errorf("%d posts of results that were delivered or are none", n)
	}
}

// TestStop: without a signal before it, Stop ends the worker, too.
func TestStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	gate := newGated()
	b.Give("a", `{}`)
	b.start(gate.handle)
	b.Until(t, func() bool { return b.countLogged("INFO", "Started.") == 1 }, "the job to run")
	b.worker.Stop()
	if err := b.wait(); err != nil || len(b.Requests(final)) > 0 {
		t.Errorf("Run returns %v after %d posts", err, len(b.Requests(final)))
	}
}

// TestStateFromTheFuture: what was written while the clock was years ahead is not remembered for years.
func TestStateFromTheFuture(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Give("a", `{}`)
	b.start(func(context.Context, runpod.Job, runpod.Reporter) (runpod.Result, error) {
		return runpod.Result{}, runpod.Fail("busy", "Not now.")
	})
	b.AwaitResult(t, "a")
	if err := b.end(); err != nil {
		t.Fatal(err)
	}
	state, data := b.onlyRecord(t)
	moved := regexp.MustCompile(`"at":"[^"]*"`).ReplaceAll(data, []byte(`"at":"`+time.Now().AddDate(10, 0, 0).Format(time.RFC3339Nano)+`"`))
	if err := os.WriteFile(state, moved, 0o600); err != nil {
		t.Fatal(err)
	}
	again := newBench(t, "WORKER_STATE_DIR="+b.worker.Config.StateDir)
	again.worker.Config.Timing.RememberFailure = 200 * time.Millisecond
	var runs times
	again.Give("first", `{}`) // the start has been made when it is answered
	again.start(runs.handler(echo))
	again.AwaitResult(t, "first")
	time.Sleep(300 * time.Millisecond)
	again.Give("a", `{}`)
	again.AwaitResult(t, "a")
	if runs.of("a") != 1 {
		t.Error("the job, which its caller sends again, is answered from the state")
	}
}

// onlyRecord is the one file of the worker's state, and what is in it.
func (b *bench) onlyRecord(t *testing.T) (path string, data []byte) {
	t.Helper()
	state, err := filepath.Glob(filepath.Join(b.worker.Config.StateDir, "*", "*.json"))
	if err != nil || len(state) != 1 {
		t.Fatalf("the state is %q, %v", state, err)
	}
	data, err = os.ReadFile(state[0])
	if err != nil {
		t.Fatal(err)
	}
	return state[0], data
}
