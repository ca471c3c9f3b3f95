package runpod_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

// This test binary is a worker itself when it is told where to keep its diary. Such workers can be killed.
const (
	diaryVariable = "RUNPODTEST_DIARY"
	speedVariable = "RUNPODTEST_SPEED"
)

func TestMain(m *testing.M) {
	if os.Getenv(diaryVariable) != "" {
		os.Exit(childMain())
	}
	flag.Set("test.parallel", "12") //nolint:errcheck // these tests wait more than they work; the command line still wins
	os.Exit(m.Run())
}

func childMain() int {
	config, err := runpod.ReadConfig(os.Environ())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if speed, err := strconv.ParseFloat(os.Getenv(speedVariable), 64); err == nil {
		memory := runpod.DefaultTiming()
		config.Timing = memory.Scaled(speed)
		config.Timing.RememberSuccess, config.Timing.RememberFailure = memory.RememberSuccess, memory.RememberFailure
		config.Timing.RememberCancel, config.Timing.RememberUndelivered = memory.RememberCancel, memory.RememberUndelivered
	}
	diary, err := os.OpenFile(os.Getenv(diaryVariable), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	worker := runpod.Worker{Config: config, Version: "child", Handler: (&childHandler{diary}).handle}
	return worker.Main(context.Background())
}

// childHandler notes when a job begins and how it ends: one line per write, which other processes' lines do not mix with.
type childHandler struct{ diary *os.File }

func (h *childHandler) note(event, id string) {
	fmt.Fprintf(h.diary, "%s %s %d %d\n", event, id, time.Now().UnixNano(), os.Getpid()) //nolint:errcheck // the test would miss it
}

func (h *childHandler) handle(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
	var input struct {
		Do   string
		MS   int
		File string
	}
	if err := json.Unmarshal(job.Input, &input); err != nil {
		return runpod.Result{}, runpod.Fail("invalid_input", "The input must be an object.")
	}
	h.note("start", job.ID)
	r.Progress(map[string]any{"stage": "working"})
	if input.Do == "process" { // a generator that only a signal ends
		cmd := exec.CommandContext(ctx, "sleep", "60")
		if err := cmd.Start(); err != nil {
			return runpod.Result{}, err
		}
		if err := os.WriteFile(input.File, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
			return runpod.Result{}, err
		}
		err := cmd.Wait()
		h.note("killed", job.ID)
		return runpod.Result{}, err
	}
	select {
	case <-time.After(time.Duration(input.MS) * time.Millisecond):
	case <-ctx.Done():
		h.note("cancel", job.ID)
		return runpod.Result{}, context.Cause(ctx)
	}
	h.note("end", job.ID)
	switch input.Do {
	case "fail":
		return runpod.Result{}, runpod.Fail("told_to", "The job was told to fail.")
	case "panic":
		panic("the job was told to panic")
	}
	return runpod.Result{Output: map[string]any{"id": job.ID, "pid": os.Getpid()}}, nil
}

// child starts workers as processes, one after another, with one state folder.
type child struct {
	t                *testing.T
	dir, state, book string
	env              []string
	out              buffer
}

func newChild(t *testing.T, s *runpodtest.Server, env ...string) *child {
	t.Helper()
	dir := t.TempDir()
	c := &child{t: t, dir: filepath.Join(dir, "cwd"), state: filepath.Join(dir, "state"), book: filepath.Join(dir, "diary")}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.env = append([]string{"PATH=" + os.Getenv("PATH"), diaryVariable + "=" + c.book, speedVariable + "=0.05", "WORKER_STATE_DIR=" + c.state}, s.Env()...)
	c.env = append(c.env, env...)
	t.Cleanup(func() {
		if t.Failed() {
			text := c.out.String()
			t.Logf("the workers' output (its end):\n%s", text[max(0, len(text)-8000):])
		}
	})
	return c
}

func (c *child) start(command ...string) *exec.Cmd {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(self)
	if len(command) > 0 {
		cmd = exec.Command(command[0], append(command[1:], self)...)
	}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, c.env, &c.out, &c.out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill() //nolint:errcheck // it may be gone
			cmd.Wait()         //nolint:errcheck // it was killed
		}
	})
	return cmd
}

// terminate sends SIGTERM and waits for an exit with the code.
func (c *child) terminate(cmd *exec.Cmd, code int) (took time.Duration) {
	c.t.Helper()
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Error(err)
	}
	c.wait(cmd, code)
	return time.Since(began)
}

func (c *child) wait(cmd *exec.Cmd, code int) {
	c.t.Helper()
	timer := time.AfterFunc(runpodtest.Patience, func() { cmd.Process.Kill() }) //nolint:errcheck // it may be gone
	defer timer.Stop()
	cmd.Wait() //nolint:errcheck // the code is looked at
	if got := cmd.ProcessState.ExitCode(); got != code {
		c.t.Errorf("the worker's exit code is %d, want %d", got, code)
	}
}

// diaryEntries are what the handlers of all processes wrote down.
type diaryEntries struct {
	starts map[string]int
	all    []diaryEntry
}

type diaryEntry struct {
	event, id string
	at        time.Time
	pid       string
}

func (c *child) diary() diaryEntries {
	c.t.Helper()
	data, err := os.ReadFile(c.book)
	if err != nil {
		c.t.Fatal(err)
	}
	d := diaryEntries{starts: map[string]int{}}
	for l := range bytes.Lines(data) {
		f := strings.Fields(string(l))
		if len(f) != 4 {
			continue // a killed process's last line
		}
		ns, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			c.t.Fatalf("the diary has the line %q", l)
		}
		d.all = append(d.all, diaryEntry{f[0], f[1], time.Unix(0, ns), f[3]})
		if f[0] == "start" {
			d.starts[f[1]]++
		}
	}
	return d
}
