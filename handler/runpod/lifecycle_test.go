package runpod_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

func TestCheck41_Unhealthy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.worker.Config.Timing = runpod.DefaultTiming()
	b.Always(ping, reply{Delay: time.Minute})
	ran := []string{}
	check := func(name string, err error) runpod.Check {
		return runpod.Check{Name: name, Run: func(context.Context) error { ran = append(ran, name); return err }}
	}
	b.worker.Checks = []runpod.Check{check("disk", nil), check("gpu memory", errors.New(strings.Repeat("ö", 400))), check("never", nil)}
	began := time.Now()
	if code := b.worker.Main(t.Context()); code != 1 {
		t.Errorf("the exit code is %d", code)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	if diff := cmp.Diff([]string{"disk", "gpu memory"}, ran); diff != "" {
		t.Errorf("the checks (-want +got):\n%s", diff)
	}
	q, err := url.ParseQuery(b.Await(t, ping, 1)[0].RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	if q.Get("status") != "unhealthy" || q.Get("check") != "gpu memory" || !strings.HasPrefix(q.Get("reason"), "*errors.errorString: ööö") || len([]rune(q.Get("reason"))) != 256 {
		t.Errorf("the report is %v", q)
	}
	if n := len(b.Requests(take)); n > 0 {
		t.Errorf("%d polls of an unhealthy worker", n)
	}
}

func TestCheck41_PanicInACheck(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.worker.Checks = []runpod.Check{{Name: "p", Run: func(context.Context) error { panic("no") }}}
	if err := b.worker.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the fitness check p failed: no") {
		t.Errorf("Run returns %v", err)
	}
}

func TestCheck42_PrestartFails(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"held", "queued later", "empty", "not eager", "panic"} {
		b := newBench(t, "WORKER_EAGER_TAKE="+strconv.FormatBool(mode != "not eager"))
		load := make(chan struct{})
		b.worker.Prestart = func(context.Context) error {
			<-load
			if mode == "panic" {
				panic("no weights")
			}
			return fmt.Errorf("opening: %w", errors.New("no weights"))
		}
		var runs times
		began := time.Now()
		b.start(runs.handler(echo))
		if mode == "held" || mode == "panic" {
			b.Give("a", `{}`)
			b.Await(t, progress, 1)
		}
		if mode == "not eager" {
			time.Sleep(100 * time.Millisecond)
			if n := len(b.Requests(take)); n > 0 {
				t.Errorf("%s: %d polls before the model is loaded", mode, n)
			}
			b.Give("a", `{}`)
		}
		close(load)
		if mode == "queued later" {
			b.Until(t, func() bool { return b.countLogged("ERROR", "cannot be started") > 0 }, "the failure")
			b.Give("a", `{}`)
		}
		if err := b.wait(); err == nil || !strings.Contains(err.Error(), "no weights") {
			t.Errorf("%s: Run returns %v", mode, err)
		}
		if n := len(b.Requests(take)); n == 0 || mode != "empty" && b.Fate("a").Given != 1 {
			t.Errorf("%s: %d polls", mode, n)
		}
		if mode == "empty" {
			if took := time.Since(began); took < b.worker.Config.Timing.PrestartTake {
				t.Errorf("%s: the worker waited %s for a job to tell", mode, took)
			}
			continue
		}
		got := errorOf(t, b.Result("a"))
		for _, want := range []string{`"event":"prestart_failed"`, `"error_message":"`, "no weights", `"worker_id":"pod-abc123"`, `"error_traceback":`, `"runpod_version":`} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the error is %s, without %s", mode, got, want)
			}
		}
		if runs.of("a") > 0 {
			t.Errorf("%s: the job was run", mode)
		}
	}
}

func TestCheck42_ShutdownWhileLoading(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.worker.Prestart = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	b.Give("a", `{}`)
	b.start(nil)
	if body := string(b.Await(t, progress, 1)[0].Body); body != `{"status":"IN_PROGRESS","output":{"stage":"loading_model"}}` {
		t.Errorf("the progress is %s", body)
	}
	if err := b.end(); err != nil {
		t.Errorf("Run returns %v", err)
	}
	if n := len(b.Requests(final)); n > 0 {
		t.Errorf("%d results of a job that was not run", n)
	}
}

func TestCheck43_SIGTERM(t *testing.T) {
	t.Parallel()
	s := runpodtest.Start(t)
	s.Hold = runpodtest.Patience
	c := newChild(t, s, speedVariable+"=1")
	idle := c.start()
	s.Await(t, take, 1)
	s.Await(t, stop, 1)
	if took := c.terminate(idle, 0); took > 2*time.Second {
		t.Errorf("an idle worker ended after %s", took)
	}

	s.Give("a", `{"ms":2500}`)
	busy := c.start()
	s.Until(t, func() bool { return s.Fate("a").Given == 1 }, "the job to be taken")
	s.Await(t, progress, 1)
	polls := len(s.Requests(take))
	s.Give("b", `{}`)
	told := time.Now()
	c.terminate(busy, 0)
	if s.Result("a") == "" || s.Fate("b").Given > 0 || len(s.Requests(take)) != polls {
		t.Errorf("results: %q; polls after the signal: %d", s.Result("a"), len(s.Requests(take))-polls)
	}
	pings := 0
	for _, p := range s.Requests(ping) {
		if p.At.After(told) && len(p.Pinged) == 1 {
			pings++
		}
	}
	if pings < 2 {
		t.Errorf("%d pings with the job while it was finished", pings)
	}
}

func TestCheck44_SecondSIGTERM(t *testing.T) {
	t.Parallel()
	for result, want := range map[string]string{"none": "", "error": "shut down before the job was finished"} {
		s := runpodtest.Start(t)
		c := newChild(t, s, speedVariable+"=1", "WORKER_SHUTDOWN_RESULT="+result)
		file := filepath.Join(t.TempDir(), "pid")
		s.Give("a", fmt.Sprintf(`{"do":"process","file":%q}`, file))
		cmd := c.start()
		var pid int
		s.Until(t, func() bool {
			text, err := os.ReadFile(file)
			pid, _ = strconv.Atoi(string(text))
			return err == nil && pid > 0
		}, "the generator")
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		s.Until(t, func() bool { return strings.Contains(c.out.String(), "Shutting down.") }, "the first signal to be noticed")
		if took := c.terminate(cmd, 0); took > 5*time.Second {
			t.Errorf("the worker ended after %s", took)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("the generator still runs: %v", err)
		}
		if got := s.Result("a"); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("WORKER_SHUTDOWN_RESULT=%s: the result is %q", result, got)
		}
	}
}

func TestCheck44_Grace(t *testing.T) {
	t.Parallel()
	b := newBench(t, "WORKER_SHUTDOWN_GRACE=200ms")
	gate := newGated()
	b.Give("a", `{}`)
	b.start(gate.handle)
	b.Until(t, func() bool { return b.countLogged("INFO", "Started.") == 1 }, "the job to run")
	if err := b.end(); err != nil {
		t.Errorf("Run returns %v", err)
	}
	if n := len(b.Requests(final)); n > 0 || b.countLogged("INFO", "left for another worker") != 1 {
		t.Errorf("%d results of a job that was stopped", n)
	}
}

// TestCheck45_NoLeaks is alone in the process while it runs: it counts what belongs to the whole process.
func TestCheck45_NoLeaks(t *testing.T) {
	b := newBench(t, "WORKER_CONCURRENCY=4", "RUNPOD_LOG_LEVEL=ERROR", "RUNPOD_PING_INTERVAL=300")
	b.Hold, b.worker.Config.Timing.Poll = runpodtest.Patience, time.Hour // between pings, both polls are all that goes on
	b.start(func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		r.Progress(1)
		if strings.HasSuffix(job.ID, "3") {
			panic("now and then")
		}
		return runpod.Result{Output: 1}, r.Stream(1)
	})
	// count takes the least of many looks, without the connections that either end keeps for later.
	count := func() (goroutines, files int) {
		goroutines, files = 1<<30, 1<<30
		for range 100 {
			b.CloseIdle()
			open, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				t.Skipf("there is no /proc/self/fd to count in: %v", err)
			}
			goroutines, files = min(goroutines, runtime.NumGoroutine()), min(files, len(open))
			time.Sleep(5 * time.Millisecond)
		}
		return goroutines, files
	}
	jobs := func(from, to int) {
		for i := from; i < to; i++ {
			b.Give(fmt.Sprint("job-", i), `{}`)
		}
		b.Until(t, func() bool {
			for i := from; i < to; i++ {
				if b.Result(fmt.Sprint("job-", i)) == "" {
					return false
				}
			}
			return true
		}, "%d results", to-from)
	}
	jobs(0, 10)
	goroutines, files := count()
	jobs(10, 1000)
	goroutinesAfter, filesAfter := count()
	t.Logf("after 10 jobs: %d goroutines, %d files; after 1,000: %d, %d", goroutines, files, goroutinesAfter, filesAfter)
	b.worker.Stop()
	if err := b.end(); err != nil {
		t.Error(err)
	}
	if goroutinesAfter > goroutines || filesAfter > files {
		t.Errorf("990 more jobs left %d goroutines and %d files", goroutinesAfter-goroutines, filesAfter-files)
	}
	var usage syscall.WaitStatus
	if pid, err := syscall.Wait4(-1, &usage, syscall.WNOHANG, nil); pid > 0 {
		t.Errorf("the process %d is a zombie: %v", pid, err)
	}
}

func TestCheck46_WritesNothingElsewhere(t *testing.T) {
	t.Parallel()
	s := runpodtest.Start(t)
	volume, _ := os.ReadDir("/runpod-volume")
	c := newChild(t, s)
	cmd := c.start()
	s.Give("a", `{}`)
	s.Give("b", `{"do":"panic"}`)
	s.AwaitResult(t, "a")
	s.AwaitResult(t, "b")
	c.terminate(cmd, 0)
	left, err := os.ReadDir(c.dir)
	if err != nil || len(left) > 0 {
		t.Errorf("the working directory holds %v (%v)", left, err)
	}
	if now, _ := os.ReadDir("/runpod-volume"); len(now) != len(volume) {
		t.Errorf("/runpod-volume has changed")
	}
	files, err := filepath.Glob(filepath.Join(c.state, "*", "*.json"))
	if err != nil || len(files) != 2 {
		t.Errorf("the state folder holds %q", files)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %v", file, err)
		}
	}
}
