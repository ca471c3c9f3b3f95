package runpod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

// answers is a handler that always ends the same way.
func answers(output any, err error) runpod.Handler {
	return func(context.Context, runpod.Job, runpod.Reporter) (runpod.Result, error) {
		return runpod.Result{Output: output}, err
	}
}

func TestCheck20_Success(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Give("sync-1-u1", `{}`)
	b.start(answers(map[string]any{"video_url": "https://bucket/v.mp4?X-Amz-Date=1&X-Amz-Signature=abc<>"}, nil))
	body := b.AwaitResult(t, "sync-1-u1")
	if want := `{"output":{"video_url":"https://bucket/v.mp4?X-Amz-Date=1&X-Amz-Signature=abc<>"}}`; body != want {
		t.Errorf("the body is %s, want %s", body, want)
	}
	posts := b.Requests(final)
	if len(posts) != 1 {
		t.Fatalf("%d posts", len(posts))
	}
	p := posts[0]
	got := []string{p.Method, p.Path, p.RawQuery, p.Header.Get("Content-Type"), p.Header.Get("charset"), p.Header.Get("X-Request-ID")}
	want := []string{"POST", "/v2/ep1/job-done/pod-abc123/sync-1-u1", "gpu=NVIDIA+RTX+A5000&isStream=false", "application/x-www-form-urlencoded", "utf-8", "sync-1-u1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the post (-want +got):\n%s", diff)
	}
}

func TestCheck21_ServerErrors(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 4 {
		b.Script(final, reply{Status: 503})
	}
	b.Give("a", `{}`)
	var runs times
	b.start(runs.handler(echo))
	b.AwaitResult(t, "a")
	posts := b.Requests(final)
	wait := b.worker.Config.Timing.PostRetry
	for i, got := range gaps(posts) {
		if want := wait << i; got < want-time.Millisecond {
			t.Errorf("pause %d is %s, want %s at least", i, got, want)
		}
	}
	b.Until(t, func() bool { return b.countLogged("INFO", "Finished.") > 0 }, "the end to be logged")
	if n := b.countLogged("INFO", "Finished."); len(posts) != 5 || n != 1 || runs.of("a") != 1 {
		t.Errorf("%d attempts, %d runs, %d times Finished", len(posts), runs.of("a"), n)
	}
}

func TestCheck22_Unreachable(t *testing.T) {
	t.Parallel()
	address, open := reserved(t)
	b := newBench(t, "RUNPOD_WEBHOOK_POST_OUTPUT=http://"+address+"/v2/ep1/job-done/$RUNPOD_POD_ID/$ID?"+runpodtest.Query)
	b.Give("a", `{}`)
	b.Give("b", `{}`)
	b.start(nil)
	time.Sleep(60 * time.Second / 20)
	if b.Fate("b").Given == 0 {
		t.Error("the worker waits for the first result before it takes the next job")
	}

	up := open()
	defer up.Close() //nolint:errcheck // the test is over
	backend, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	go forward(up, backend.Host)
	b.AwaitResult(t, "a")
	b.AwaitResult(t, "b")
}

// reserved is an address that refuses connections, which nobody else can take, until it is opened.
func reserved(t *testing.T) (address string, open func() net.Listener) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "reserved")
	t.Cleanup(func() { file.Close() }) //nolint:errcheck // the listener has its own copy
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), func() net.Listener {
		if err := unix.Listen(fd, 16); err != nil {
			t.Fatal(err)
		}
		listener, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
}

// forward connects whoever comes to listener with address.
func forward(listener net.Listener, address string) {
	for {
		in, err := listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", address)
		if err != nil {
			in.Close() //nolint:errcheck // there is nobody to connect to
			continue
		}
		copy := func(to, from net.Conn) {
			io.Copy(to, from) //nolint:errcheck // either end may go first
			to.Close()        //nolint:errcheck // see above
		}
		go copy(out, in)
		go copy(in, out)
	}
}

func TestCheck23_Rejected(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Script(final, reply{Status: 400, Body: "too large"}, reply{After: true}, reply{Status: 400})
	b.Give("a", `{}`)
	b.Give("b", `{"fail":true}`)
	b.Give("c", `{}`)
	b.start(func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		if job.ID == "b" {
			return runpod.Result{}, errorOnly{}
		}
		return runpod.Result{Output: strings.Repeat("x", 100_000)}, nil
	})
	b.AwaitResult(t, "c")
	posts := b.Of(final, "a")
	if len(posts) != 2 {
		t.Fatalf("%d posts for a rejected result", len(posts))
	}
	if p := posts[1]; len(p.Body) >= 4096 || !strings.Contains(errorOf(t, string(p.Body)), "HTTP 400") || len(read(t, string(p.Body)).Output) > 0 {
		t.Errorf("the second post is %.300s", p.Body)
	}
	if n := len(b.Of(final, "b")); n != 1 {
		t.Errorf("%d posts for a rejected error", n)
	}
}

// errorOnly is a failure without an output.
type errorOnly struct{}

func (errorOnly) Error() string      { return "No." }
func (errorOnly) FailureOutput() any { return nil }

func TestCheck24_JobGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Script(final, reply{Status: 404})
	b.Give("a", `{}`)
	b.Give("b", `{}`)
	b.start(nil)
	b.AwaitResult(t, "b")
	if n := len(b.Of(final, "a")); n != 1 {
		t.Errorf("%d posts for a job that is gone", n)
	}
	if b.countLogged("INFO", "wants no result") != 1 || b.countLogged("ERROR", "") > 0 {
		t.Error("it is not logged as a normal event")
	}
}

func TestCheck25_Panic(t *testing.T) {
	t.Parallel()
	b := newBench(t, "RUNPOD_POD_HOSTNAME=host-1")
	b.Give("a", `{}`)
	b.Give("b", `{}`)
	b.Give("c", `{}`)
	b.start(func(_ context.Context, job runpod.Job, _ runpod.Reporter) (runpod.Result, error) {
		switch job.ID {
		case "a":
			panic("boom")
		case "b":
			return runpod.Result{}, fmt.Errorf("storing: %w", &net.OpError{Op: "dial", Err: io.EOF})
		}
		return runpod.Result{}, nil
	})
	for id, want := range map[string][]string{"a": {"panic", "boom", "results_test.go"}, "b": {"*errors.errorString", "storing: dial: EOF", "*net.OpError"}} {
		var got map[string]string
		if err := json.Unmarshal([]byte(errorOf(t, b.AwaitResult(t, id))), &got); err != nil {
			t.Fatal(err)
		}
		trace := got["error_traceback"]
		delete(got, "error_traceback")
		if diff := cmp.Diff(map[string]string{"error_type": want[0], "error_message": want[1], "hostname": "host-1",
			"worker_id": runpodtest.Worker, "runpod_version": "go-runpod/1.2.3"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		if !strings.Contains(trace, want[2]) || len(trace) > 8200 {
			t.Errorf("%s: the traceback is %q", id, trace)
		}
	}
	if got := b.AwaitResult(t, "c"); got != `{"output":null}` {
		t.Errorf("the next job's result is %s", got)
	}
	if n := b.countLogged("ERROR", "Captured Handler Exception"); n != 2 {
		t.Errorf("%d exceptions logged", n)
	}
}

func TestCheck26_BusinessError(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Give("a", `{}`)
	b.start(answers(nil, fmt.Errorf("checking: %w", &runpod.JobError{Code: "audio_too_long", Message: "The audio is too long.", Details: map[string]any{"field": "audio"}})))
	want := `{"output":{"error_code":"audio_too_long","field":"audio"},"error":"The audio is too long."}`
	if got := b.AwaitResult(t, "a"); got != want {
		t.Errorf("the result is %s, want %s", got, want)
	}
}

func TestCheck27_OutputsThatAreNoJSON(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	outputs := map[string]any{
		"nan":    map[string]any{"loss": math.NaN(), "list": []float64{1, math.Inf(1)}, "n": 7},
		"struct": struct{ Loss float64 }{math.NaN()},
		"large":  strings.Repeat("x", 6<<20),
		"utf8":   map[string]any{"s": "a\xffb", "raw": json.RawMessage("\"c\xfed\"")},
		"func":   map[string]any{"f": func() {}},
		"panics": panics{},
		"nil":    nil,
	}
	for id := range outputs {
		b.Give(id, `{}`)
	}
	b.start(func(_ context.Context, job runpod.Job, _ runpod.Reporter) (runpod.Result, error) {
		return runpod.Result{Output: outputs[job.ID]}, nil
	})
	for id, want := range map[string]string{
		"nan":  `{"output":{"list":[1,null],"loss":null,"n":7}}`,
		"utf8": "{\"output\":{\"raw\":\"c\ufffdd\",\"s\":\"a\ufffdb\"}}",
		"nil":  `{"output":null}`,
	} {
		if got := strings.ReplaceAll(b.AwaitResult(t, id), `\ufffd`, "\ufffd"); got != want {
			t.Errorf("%s: the result is %s, want %s", id, got, want)
		}
	}
	for id, want := range map[string]string{"struct": "cannot be written as JSON", "large": "The result has 6291", "func": "cannot be written as JSON", "panics": "panicked"} {
		if got := errorOf(t, b.AwaitResult(t, id)); !strings.Contains(got, want) || len(got) > 500 {
			t.Errorf("%s: the error is %q, want %q", id, got, want)
		}
	}
}

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no") }

func TestCheck28_RequestIDs(t *testing.T) {
	t.Parallel()
	b := newBench(t, "WORKER_CONCURRENCY=2")
	for i := range 20 {
		b.Give(fmt.Sprint("job-", i), `{}`)
	}
	b.start(func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		r.Progress(job.ID)
		time.Sleep(5 * time.Millisecond)
		return runpod.Result{Output: job.ID}, r.Stream(job.ID)
	})
	for i := range 20 { // the server refuses a post whose X-Request-ID is not its address's
		if id := fmt.Sprint("job-", i); b.AwaitResult(t, id) != fmt.Sprintf(`{"output":%q}`, id) {
			t.Errorf("%s: the result is %s", id, b.Result(id))
		}
	}
	for _, p := range append(b.Requests(final), b.Requests(runpodtest.Progress)...) {
		if p.Header.Get("X-Request-ID") != p.JobID {
			t.Errorf("X-Request-ID %s for %s", p.Header.Get("X-Request-ID"), p.JobID)
		}
	}
}

func TestCheck29_Refresh(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Script(final, reply{Status: 503})
	b.Give("a", `{}`)
	b.Give("b", `{}`)
	b.start(func(context.Context, runpod.Job, runpod.Reporter) (runpod.Result, error) {
		return runpod.Result{Output: map[string]any{"n": 1}, Refresh: true}, nil
	})
	if err := b.wait(); err != nil {
		t.Errorf("Run returns %v", err)
	}
	if got, want := b.Result("a"), `{"output":{"n":1},"stopPod":true}`; got != want {
		t.Errorf("the result is %s, want %s", got, want)
	}
	if polls := b.Requests(take); len(polls) != 1 || b.Fate("b").Given > 0 {
		t.Errorf("%d polls, and the next job was given out %d times", len(polls), b.Fate("b").Given)
	}

	failing := newBench(t)
	failing.Give("a", `{}`)
	failing.start(func(context.Context, runpod.Job, runpod.Reporter) (runpod.Result, error) {
		return runpod.Result{Refresh: true}, runpod.Fail("gpu_lost", "The GPU is lost.")
	})
	if err := failing.wait(); err != nil {
		t.Errorf("Run returns %v", err)
	}
	if p := read(t, failing.Result("a")); !p.StopPod || p.Error == nil || *p.Error != "The GPU is lost." {
		t.Errorf("the result is %s", failing.Result("a"))
	}
}

func TestCheck30_KilledBeforeDelivery(t *testing.T) {
	t.Parallel()
	s := runpodtest.Start(t)
	s.Always(final, reply{Status: 503})
	s.Give("a", `{"do":"echo"}`)
	c := newChild(t, s)
	first := c.start()
	s.Await(t, final, 2)
	first.Process.Kill() //nolint:errcheck // Wait reports what happened
	first.Wait()         //nolint:errcheck // it was killed
	s.Usual(final)
	before := len(s.Requests(final))

	second := c.start()
	s.AwaitResult(t, "a")
	awaitIdle(t, s)
	s.Again("a") // a worker that has forgotten would run it
	s.Until(t, func() bool { return len(s.Requests(final)) == before+2 }, "the stored result")
	c.terminate(second, 0)
	if runs := c.diary().starts["a"]; runs != 1 {
		t.Errorf("the job was run %d times", runs)
	}
	if files, _ := filepath.Glob(filepath.Join(c.state, "*", "*.partial")); len(files) > 0 {
		t.Errorf("partial files are left: %q", files)
	}
}
