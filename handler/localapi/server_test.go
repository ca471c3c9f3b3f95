package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// bench is a server without connections, and what it logs.
type bench struct {
	*Server
	handler http.Handler
	mu      sync.Mutex
	text    bytes.Buffer
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *bench) log() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newBench opens a server as Serve does.
func newBench(t testing.TB, handler runpod.Handler, change ...func(*Server)) *bench {
	t.Helper()
	b := &bench{}
	b.Server = &Server{
		Config: Config{Host: "localhost", Port: 8000, Concurrency: 1, Queue: 100}, Handler: handler, Version: "1.2.3", WorkerID: "me",
		Log: runpod.NewLog(b, runpod.Config{LogLevel: "DEBUG"}, []string{"SOME_TOKEN=CANARY-TOKEN"}), UploadDir: t.TempDir(), Webhooks: http.DefaultClient,
		Contract: Contract{Input: json.RawMessage(`{"$schema": "x", "type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "string"}, "source": {"anyOf": [{"type": "boolean"}]}}}`), Output: reflect.TypeFor[map[string]string]()},
	}
	for _, c := range change {
		c(b.Server)
	}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	b.prepare(t.Context())
	go b.queue.janitor()
	t.Cleanup(func() {
		b.Stop()
		close(b.over)
		b.queue.running.Wait()
	})
	b.handler = b.guard(http.HandlerFunc(b.dispatch))
	return b
}

// ask is a request of this machine.
func (b *bench) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost:8000"+path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// must asks for JSON and decodes it into a T.
func must[T any](t testing.TB, b *bench, method, path, body string) T {
	t.Helper()
	w := b.ask(method, path, body)
	if w.Code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return decode[T](t, w)
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	in := json.NewDecoder(w.Body)
	in.DisallowUnknownFields()
	if err := in.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// refused asks for what is not given.
func refused(t testing.TB, b *bench, method, path, body string, status int, code string) Problem {
	t.Helper()
	w := b.ask(method, path, body)
	p := decode[Problem](t, w)
	if w.Code != status || p.Code != code || p.Error == "" {
		t.Fatalf("%s %s: %d %+v, want %d %s", method, path, w.Code, p, status, code)
	}
	return p
}

// echo answers with the input. What the input asks for, it does.
func echo(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
	var in struct {
		Wait   time.Duration `json:"wait"`
		Deaf   time.Duration `json:"deaf"` // goes on that long after its context has ended
		Fail   string        `json:"fail"`
		Panic  bool          `json:"panic"`
		Stream int           `json:"stream"`
	}
	if err := json.Unmarshal(job.Input, &in); err != nil {
		return runpod.Result{}, runpod.Fail("invalid_input", "no")
	}
	r.Progress(map[string]any{"stage": "wait", "step": 0, "steps": 4})
	for i := range in.Stream {
		if err := r.Stream(map[string]int{"n": i}); err != nil {
			return runpod.Result{}, err
		}
	}
	if in.Panic {
		panic("as asked")
	}
	select {
	case <-time.After(in.Wait):
	case <-ctx.Done():
		time.Sleep(in.Deaf)
		if in.Deaf == 0 {
			return runpod.Result{}, context.Cause(ctx)
		}
	}
	if in.Fail != "" {
		return runpod.Result{}, runpod.Fail("as_asked", "%s", in.Fail)
	}
	return runpod.Result{Output: job.Input}, nil
}

// TestCheck54_Limits: the policy's times end a job; an unknown id is a 404 in JSON.
func TestCheck54_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, echo)
		late := must[Ticket](t, b, "POST", "/run", `{"input": {"wait": 60000000000}, "policy": {"executionTimeout": 5000}}`)
		next := must[Ticket](t, b, "POST", "/run", `{"input": {"a": 1}}`)
		time.Sleep(4900 * time.Millisecond)
		synctest.Wait()
		if s := must[Status](t, b, "GET", "/status/"+late.ID, ""); s.State != InProgress || *s.ExecutionTime != 4900 || s.Progress.Stage != "wait" {
			t.Errorf("after 4.9 s: %+v", s)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if s := must[Status](t, b, "GET", "/status/"+late.ID, ""); s.State != TimedOut || *s.ExecutionTime != 5000 || !strings.Contains(s.Error, "5s") || !strings.Contains(string(s.Output), `"error_code":"job_timeout"`) {
			t.Errorf("after 5.1 s: %+v %s", s, s.Output)
		}
		if s := must[Status](t, b, "GET", "/status/"+next.ID, ""); s.State != Completed || *s.DelayTime != 5000 {
			t.Errorf("the next job: %+v", s)
		}
		refused(t, b, "GET", "/status/nobody", "", 404, "job_not_found")
		refused(t, b, "POST", "/v2/x/cancel/nobody", "", 404, "job_not_found")

		brief := must[Ticket](t, b, "POST", "/run", `{"input": {"wait": 60000000000}, "policy": {"ttl": 10000}}`)
		waits := must[Ticket](t, b, "POST", "/run", `{"input": {}, "policy": {"ttl": 2000}}`)
		time.Sleep(2100 * time.Millisecond)
		refused(t, b, "GET", "/status/"+waits.ID, "", 404, "job_not_found")
		time.Sleep(8 * time.Second)
		refused(t, b, "GET", "/status/"+brief.ID, "", 404, "job_not_found")
		if h := must[Health](t, b, "GET", "/health", ""); h.Workers.Idle != 1 || h.Jobs.InProgress+h.Jobs.InQueue != 0 {
			t.Errorf("after the expiry: %+v", h)
		}
	})
}

// TestCheck52_Cancelled: a running job's context ends and its late output is dropped; its place is free when its handler
// has returned, not before. A job that waits never runs.
func TestCheck52_Cancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var causes []error
		var ran []string
		b := newBench(t, func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
			result, err := echo(ctx, job, r)
			mu.Lock()
			defer mu.Unlock()
			causes, ran = append(causes, context.Cause(ctx)), append(ran, job.ID)
			return result, err
		})
		running := must[Ticket](t, b, "POST", "/run", `{"id": "running", "input": {"wait": 60000000000, "deaf": 4000000000}}`)
		must[Ticket](t, b, "POST", "/run", `{"id": "waiting", "input": {}}`)
		must[Ticket](t, b, "POST", "/run", `{"id": "next", "input": {}}`)
		time.Sleep(time.Second)
		if s := must[Status](t, b, "POST", "/cancel/waiting", ""); s.State != Cancelled || s.DelayTime == nil || s.ExecutionTime == nil {
			t.Errorf("a job that waits: %+v", s)
		}
		if s := must[Status](t, b, "POST", "/v2/any/cancel/"+running.ID, "{}"); s.State != Cancelled || *s.ExecutionTime != 1000 {
			t.Errorf("a job that runs: %+v", s)
		}
		time.Sleep(2 * time.Second)
		if s := must[Status](t, b, "GET", "/status/next", ""); s.State != InQueue || s.Progress.QueuePosition != 1 {
			t.Errorf("while the cancelled job's handler goes on, the next one is %+v", s)
		}
		refused(t, b, "POST", "/retry/running", "", 409, "still_stopping")
		refused(t, b, "POST", "/run", `{"id": "running", "input": {"again": 1}}`, 409, "still_stopping")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if s := must[Status](t, b, "GET", "/status/running", ""); s.State != Cancelled || s.Output != nil || s.Error != "" {
			t.Errorf("late: %+v", s)
		}
		if s := must[Status](t, b, "POST", "/cancel/next", ""); s.State != Completed {
			t.Errorf("a finished job that is cancelled: %+v", s)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(ran) != 2 || ran[0] != "running" || ran[1] != "next" || causes[0] != runpod.ErrCancelled { //nolint:errorlint // the cause itself
			t.Errorf("ran %v, causes %v", ran, causes)
		}
	})
}

// hook is a webhook that answers with statuses, one after the other.
type hook struct {
	statuses []int
	bodies   []string
	times    []time.Time
}

func (h *hook) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	h.bodies, h.times = append(h.bodies, string(body)), append(h.times, time.Now())
	status := h.statuses[0]
	if len(h.statuses) > 1 {
		h.statuses = h.statuses[1:]
	}
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Header: http.Header{"Location": {"http://elsewhere.example/"}}}, nil
}

// TestCheck53_Webhook: RunPod's body on success, failure, cancellation and timeout; two more tries, ten seconds apart, where
// it does not answer 200; a redirect is not followed; its address is not logged.
func TestCheck53_Webhook(t *testing.T) {
	const address = "https://hooks.example/CANARY?token=CANARY"
	for name, test := range map[string]struct {
		job      string
		statuses []int
		want     string // in the body
		gaps     []time.Duration
	}{
		"success":   {`"input": {"a": 1}`, []int{200}, `"output":{"a":1},"workerId":"me","input":{"a":1},"webhook":"https://hooks.example/`, nil},
		"failure":   {`"input": {"fail": "as it is"}`, []int{200}, `"status":"FAILED","delayTime":0,"executionTime":0,"output":{"error_code":"as_asked"},"error":"as it is"`, nil},
		"timeout":   {`"input": {"wait": 9000000000}, "policy": {"executionTimeout": 1000}`, []int{200}, `"status":"TIMED_OUT"`, nil},
		"500 twice": {`"input": {}`, []int{500, 500, 200}, `"status":"COMPLETED"`, []time.Duration{10 * time.Second, 10 * time.Second}},
		"redirect":  {`"input": {}`, []int{307, 204, 200}, `"status":"COMPLETED"`, []time.Duration{10 * time.Second, 10 * time.Second}},
		"hangs":     {`"input": {}`, []int{0}, `"status":"COMPLETED"`, []time.Duration{20 * time.Second, 20 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hook{statuses: test.statuses}
				b := newBench(t, echo, func(s *Server) { s.Webhooks = &http.Client{Transport: h} })
				must[Ticket](t, b, "POST", "/run", `{`+test.job+`, "webhook": "`+address+`"}`)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if len(h.bodies) != len(test.gaps)+1 {
					t.Fatalf("%d tries: %q\n%s", len(h.bodies), h.bodies, b.log())
				}
				for i, gap := range test.gaps {
					if got := h.times[i+1].Sub(h.times[i]); got != gap {
						t.Errorf("pause %d is %s, want %s", i, got, gap)
					}
				}
				for _, body := range h.bodies {
					var d delivery
					if err := json.Unmarshal([]byte(body), &d); err != nil || !strings.Contains(body, test.want) || d.Webhook != address || d.DelayTime == nil || d.ExecutionTime == nil {
						t.Errorf("body %s, want %s", body, test.want)
					}
				}
				if log := b.log(); strings.Contains(log, "CANARY") || !strings.Contains(log, "hooks.example") {
					t.Errorf("the log: %s", log)
				}
			})
		})
	}
}

// No goroutine is left after a thousand jobs, and a server that ended.
func TestNoLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	b := &Server{
		Config: Config{Host: "127.0.0.1", Concurrency: 8, Queue: 900}, Handler: echo, Log: runpod.NewLog(io.Discard, runpod.Config{}, nil), UploadDir: t.TempDir(),
		Webhooks: &http.Client{Transport: &http.Transport{}},
	}
	listeners, err := Listen(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx, listeners) }()
	base := "http://" + listeners[0].Addr().String()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 20}}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for range 50 {
				response, err := client.Post(base+"/runsync", "application/json", strings.NewReader(`{"input": {"stream": 2}}`))
				if err != nil {
					t.Error(err)
					return
				}
				if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 200 || !bytes.Contains(body, []byte(`"COMPLETED"`)) {
					t.Errorf("%d %s %v", response.StatusCode, body, err)
				}
				response.Body.Close() //nolint:errcheck // read
			}
		})
	}
	group.Wait()
	if n := len(b.queue.jobs); n > maxJobs {
		t.Errorf("%d jobs are kept", n)
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", listeners[0].Addr().String()); err == nil {
		t.Error("the server still listens")
	}
	goleak.VerifyNone(t, before)
}
