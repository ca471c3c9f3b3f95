package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// What does not fit is refused, with the limit.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, echo, func(s *Server) { s.Config.Queue = 3 })
		must[Ticket](t, b, "POST", "/run", `{"input": {"wait": 5000000000}}`)
		for range 3 {
			must[Ticket](t, b, "POST", "/run", `{"input": {"wait": 1000000000}}`)
		}
		w := b.ask("POST", "/run", `{"input": {}}`)
		if p := decode[Problem](t, w); w.Code != 429 || p.Code != "queue_full" || w.Header().Get("Retry-After") == "" {
			t.Errorf("a full queue: %d %+v %v", w.Code, p, w.Header())
		}
		if h := must[Health](t, b, "GET", "/health", ""); h.Jobs.InQueue != 3 || h.Jobs.InProgress != 1 || h.Workers.Running != 1 || h.Workers.Idle != 0 {
			t.Errorf("%+v", h)
		}
		if p := must[Purge](t, b, "POST", "/v2/e/purge-queue", "{}"); p != (Purge{3, "completed"}) {
			t.Errorf("%+v", p)
		}
		time.Sleep(6 * time.Second)
		if h := must[Health](t, b, "GET", "/health", ""); h.Jobs.Completed != 1 || h.Jobs.InQueue != 0 || h.Workers.Idle != 1 {
			t.Errorf("%+v", h)
		}
	})
	b := newBench(t, echo)
	big := `{"input": {"a": "` + strings.Repeat("x", maxRunBody) + `"}}`
	refused(t, b, "POST", "/run", big, 413, "too_large")
	if s := must[Status](t, b, "POST", "/runsync", big); s.State != Failed || !strings.Contains(string(s.Output), "result_too_large") {
		t.Errorf("a result of 10 MB: %s %s", s.State, s.Error)
	}
	refused(t, b, "POST", "/runsync", `{"input": {"a": "`+strings.Repeat("x", maxRunSyncBody)+`"}}`, 413, "too_large")
}

func TestRequestsThatAreRefused(t *testing.T) {
	b := newBench(t, echo)
	for body, want := range map[string]struct{ code, field string }{
		``:                                    {"invalid_json", ""},
		`{"input": {}`:                        {"invalid_json", ""},
		`[]`:                                  {"invalid_json", ""},
		`{}`:                                  {"missing_input", "input"},
		`{"input": null}`:                     {"missing_input", "input"},
		`{"input": {}, "webhook": 1}`:         {"wrong_type", "webhook"},
		`{"input": {}, "webhook": "ftp://a"}`: {"invalid_url", "webhook"},
		`{"input": {}, "webhook": "https://u:p@a"}`:               {"invalid_url", "webhook"},
		`{"input": {}, "policy": {"executionTimeout": "5"}}`:      {"wrong_type", "policy.executionTimeout"},
		`{"input": {}, "policy": {"executionTimeout": 1.5}}`:      {"wrong_type", "policy.executionTimeout"},
		`{"input": {}, "policy": {"ttl": -1}}`:                    {"out_of_range", "policy.ttl"},
		`{"input": {}, "s3Config": {"accessSecret": ["CANARY"]}}`: {"wrong_type", "s3Config.accessSecret"},
		`{"input": {}, "id": "../x"}`:                             {"invalid_id", "id"},
		`{"input": {"a": ["upload:ABCDEFGHIJKLMNOPQRSTUVWXYZ"]}}`: {"upload_not_found", "a[0]"},
		`{"input": ` + strings.Repeat("[", 20_000) + `}`:          {"invalid_json", ""},
		`{"input": {}, "policy": {"executionTimeout": 1e30}}`:     {"wrong_type", "policy.executionTimeout"},
		`{"input": {}, "policy": {"ttl": 9223372036854775807}}`:   {"out_of_range", "policy.ttl"},
		"\x00": {"invalid_json", ""},
		`{"input": {"x": {"y": "upload:ABCDEFGHIJKLMNOPQRSTUVWXYZ"}}}`: {"upload_not_found", "x.y"},
	} {
		p := refused(t, b, "POST", "/run", body, 400, want.code)
		if p.Field != want.field || strings.Contains(p.Error, "CANARY") {
			t.Errorf("%.60s: %+v, want field %q", body, p, want.field)
		}
	}
	for path, status := range map[string]int{"/nothing": 404, "/v2/x/jobs": 404, "/status": 404, "/status/a/b": 404, "/v2": 404, "/favicon.ico": 404, "/v2/x/files/a": 404} {
		refused(t, b, "GET", path, "", status, "not_found")
	}
	refused(t, b, "GET", "/run", "", 405, "method_not_allowed")
	refused(t, b, "OPTIONS", "/run", "", 405, "method_not_allowed")
	refused(t, b, "PUT", "/uploads/x", "", 405, "method_not_allowed")
	refused(t, b, "GET", "/stream/x?wait=soon", "", 400, "wrong_type")
}

// A job of the client's own id is one job: sent again it is not run again, unless it failed.
func TestNeverTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		b := newBench(t, func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
			runs.Add(1)
			return echo(ctx, job, r)
		})
		const job = `{"id": "mine", "input": {"wait": 1000000000}}`
		for range 3 {
			if ticket := must[Ticket](t, b, "POST", "/run", job); ticket != (Ticket{"mine", InQueue}) {
				t.Errorf("%+v", ticket)
			}
		}
		refused(t, b, "POST", "/run", `{"id": "mine", "input": {"other": 1}}`, 409, "id_in_use")
		if s := must[Status](t, b, "POST", "/runsync", job); s.State != Completed {
			t.Errorf("%+v", s)
		}
		if ticket := must[Ticket](t, b, "POST", "/run", job); ticket.Status != Completed || runs.Load() != 1 {
			t.Errorf("afterwards: %+v, %d runs", ticket, runs.Load())
		}
		for range 2 {
			must[Status](t, b, "POST", "/runsync", `{"id": "bad", "input": {"fail": "x"}}`)
		}
		if s := must[Status](t, b, "POST", "/runsync", `{"id": "mine", "input": {"other": 1}}`); s.State != Completed || runs.Load() != 4 {
			t.Errorf("another input under the id of a finished job: %+v, %d runs", s, runs.Load())
		}
	})
}

// A job that failed is run again under its id; one that did not is not.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		b := newBench(t, func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
			if job.S3 == nil || job.S3.AccessSecret != "secret" {
				return runpod.Result{}, errors.New("the job's bucket is gone")
			}
			if broken {
				panic("CANARY")
			}
			return echo(ctx, job, r)
		})
		s := must[Status](t, b, "POST", "/runsync", `{"id": "a", "input": {"x": 1}, "s3Config": {"accessSecret": "secret"}}`)
		if s.State != Failed || strings.Contains(s.Error, "CANARY") || !strings.Contains(b.log(), "CANARY") {
			t.Errorf("a panic is answered with %+v and logged as %s", s, b.log())
		}
		broken = false
		if ticket := must[Ticket](t, b, "POST", "/retry/a", ""); ticket != (Ticket{"a", InQueue}) {
			t.Errorf("%+v", ticket)
		}
		if s := must[Status](t, b, "POST", "/status-sync/a?wait=5000", ""); s.State != Completed || s.Retries != 1 || string(s.Output) != `{"x":1}` && string(s.Output) != `{"x": 1}` || s.Error != "" {
			t.Errorf("%+v %s", s, s.Output)
		}
		refused(t, b, "POST", "/retry/a", "", 409, "not_failed")
		must[Status](t, b, "POST", "/runsync", `{"id": "big", "input": {"fail": "x", "pad": "`+strings.Repeat("p", maxRetryInput)+`"}}`)
		refused(t, b, "POST", "/retry/big", "", 409, "input_dropped")
		if h := must[Health](t, b, "GET", "/health", ""); h.Jobs.Retried != 1 || h.Jobs.Failed != 2 {
			t.Errorf("%+v", h)
		}
	})
}

// Finished jobs are kept for half an hour, and so many, and so many bytes; unfinished ones are kept whatever happens.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, echo, func(s *Server) { s.Config.Concurrency, s.Quick = 2, isQuick })
		long := must[Ticket](t, b, "POST", "/run", `{"input": {"wait": 90000000000000}}`)
		first := must[Status](t, b, "POST", "/runsync", `{"input": {}}`)
		quick := must[Status](t, b, "POST", "/runsync", `{"input": {"quick": 1}}`)
		if all := must[History](t, b, "GET", "/jobs", "").Jobs; len(all) != 2 || all[0].ID != first.ID || all[1].ID != long.ID {
			t.Errorf("the history: %+v", all)
		}
		time.Sleep(29 * time.Minute)
		must[Status](t, b, "GET", "/status/"+first.ID, "")
		refused(t, b, "GET", "/status/"+quick.ID, "", 404, "job_not_found")
		time.Sleep(2 * time.Minute)
		refused(t, b, "GET", "/status/"+first.ID, "", 404, "job_not_found")
		must[Status](t, b, "GET", "/status/"+long.ID, "")

		var kept []string
		for range maxJobs + 10 {
			kept = append(kept, must[Status](t, b, "POST", "/runsync", `{"input": {}}`).ID)
		}
		refused(t, b, "GET", "/status/"+kept[0], "", 404, "job_not_found")
		must[Status](t, b, "GET", "/status/"+kept[20], "")
		must[Status](t, b, "GET", "/status/"+long.ID, "")
		if n := len(must[History](t, b, "GET", "/jobs?limit=5000", "").Jobs); n > maxJobs || n < maxJobs-2 {
			t.Errorf("%d jobs are kept", n)
		}
		b.queue.mu.Lock()
		for i := range 70 {
			big := &job{id: fmt.Sprint("big", i), state: Completed, ended: time.Now(), output: make([]byte, 4<<20), changed: make(chan struct{})}
			b.queue.jobs[big.id], b.queue.order = big, append(b.queue.order, big)
		}
		b.queue.retain(time.Now())
		b.queue.mu.Unlock()
		sum := 0
		for _, j := range b.queue.order {
			if j.state.Final() {
				sum += j.size()
			}
		}
		if sum > maxKept || b.queue.jobs["big0"] != nil || b.queue.jobs["big69"] == nil {
			t.Errorf("%d bytes are kept, of %d; the oldest: %v, the newest: %v", sum, maxKept, b.queue.jobs["big0"] != nil, b.queue.jobs["big69"] != nil)
		}
		must[Status](t, b, "POST", "/cancel/"+long.ID, "")
	})
}

func isQuick(input json.RawMessage) bool { return strings.Contains(string(input), "quick") }

// A quick job does not wait for the others, and only one runs at a time.
func TestQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, echo, func(s *Server) { s.Quick = isQuick })
		must[Ticket](t, b, "POST", "/run", `{"input": {"wait": 60000000000}}`)
		began := time.Now()
		must[Ticket](t, b, "POST", "/run", `{"input": {"wait": 2000000000, "quick": 1}}`)
		if s := must[Status](t, b, "POST", "/runsync", `{"input": {"wait": 1000000000, "quick": 2}}`); s.State != Completed || time.Since(began) != 3*time.Second {
			t.Errorf("%+v after %s", s, time.Since(began))
		}
		time.Sleep(time.Minute)
	})
}

// A read drains the chunks; the answer is held until there is one; a job that streams none has its result as the only one.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
			for i := range 3 {
				time.Sleep(3 * time.Second)
				if err := r.Stream(i); err != nil {
					return runpod.Result{}, err
				}
			}
			err := r.Stream(strings.Repeat("x", maxChunkBytes))
			return runpod.Result{Output: fmt.Sprint(err)}, nil
		})
		id := must[Ticket](t, b, "POST", "/run", `{"input": {}}`).ID
		began := time.Now()
		if s := must[Stream](t, b, "POST", "/v2/e/stream/"+id, ""); s.Status != InProgress || s.Stream == nil || len(s.Stream) != 0 || time.Since(began) != time.Second {
			t.Errorf("nothing yet: %+v after %s", s, time.Since(began))
		}
		if s := must[Stream](t, b, "GET", "/stream/"+id+"?wait=90000", ""); len(s.Stream) != 1 || string(s.Stream[0].Output) != "0" || time.Since(began) != 3*time.Second {
			t.Errorf("the first chunk: %+v after %s", s, time.Since(began))
		}
		time.Sleep(10 * time.Second)
		if s := must[Stream](t, b, "GET", "/stream/"+id, ""); s.Status != Completed || len(s.Stream) != 2 || string(s.Stream[1].Output) != "2" {
			t.Errorf("the others: %+v", s)
		}
		if s := must[Stream](t, b, "GET", "/stream/"+id, ""); s.Status != Completed || s.Stream == nil || len(s.Stream) != 0 {
			t.Errorf("the end: %+v", s)
		}
		if s := must[Status](t, b, "GET", "/status/"+id, ""); !strings.Contains(string(s.Output), "send smaller ones") {
			t.Errorf("%s", s.Output)
		}
	})
	b := newBench(t, echo)
	id := must[Status](t, b, "POST", "/runsync", `{"input": {"a": "&"}}`).ID
	if s := must[Stream](t, b, "GET", "/stream/"+id, ""); len(s.Stream) != 1 || string(s.Stream[0].Output) != `{"a":"&"}` {
		t.Errorf("%+v", s)
	}
	for _, path := range []string{"/status/" + id, "/v2/whatever/status/" + id, "/whatever/status/" + id} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
			if w := b.ask(method, path, ""); w.Code != 200 {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
}

// A stream that nobody reads is bounded: the oldest chunks go.
func TestUnreadChunks(t *testing.T) {
	b := newBench(t, func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		for i := range 10 {
			if err := r.Stream(fmt.Sprint(i) + strings.Repeat("x", maxChunkBytes-10)); err != nil {
				return runpod.Result{}, err
			}
		}
		return runpod.Result{Output: 1}, nil
	})
	id := must[Status](t, b, "POST", "/runsync", `{"input": {}}`).ID
	s := must[Stream](t, b, "GET", "/stream/"+id, "")
	if len(s.Stream) != 4 || s.Stream[3].Output[1] != '9' {
		t.Errorf("%d chunks are left", len(s.Stream))
	}
}

// The time left is that of the stage, at its speed so far.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
			for step := range 11 {
				r.Progress(map[string]any{"stage": "denoise", "step": step, "steps": 10})
				time.Sleep(2 * time.Second)
			}
			r.Progress("CANARY-TOKEN" + strings.Repeat("x", maxProgressBytes))
			r.Progress("key CANARY-TOKEN")
			time.Sleep(time.Second)
			return runpod.Result{}, nil
		})
		id := must[Ticket](t, b, "POST", "/run", `{"input": {}}`).ID
		time.Sleep(4500 * time.Millisecond)
		s := must[Status](t, b, "GET", "/status/"+id, "")
		if want := (Progress{Stage: "denoise", Step: 2, Steps: 10, ElapsedS: 4.5, StageElapsedS: 4.5, ETAS: 18}); *s.Progress != want {
			t.Errorf("%+v, want %+v", *s.Progress, want)
		}
		if string(s.Output) != `{"stage":"denoise","step":2,"steps":10}` {
			t.Errorf("output %s", s.Output)
		}
		time.Sleep(18 * time.Second)
		if s := must[Status](t, b, "GET", "/status/"+id, ""); string(s.Output) != `"key REDACTED"` {
			t.Errorf("output %s", s.Output)
		}
		time.Sleep(time.Second)
		if s := must[Status](t, b, "GET", "/status/"+id, ""); s.State != Completed || string(s.Output) != "null" || s.Progress != nil {
			t.Errorf("%+v %s", s, s.Output)
		}
	})
}

// broken cannot be written as JSON.
type broken struct{}

func (broken) MarshalJSON() ([]byte, error) { panic("as asked") }

// What a handler answers is written as the queue writes it: what JSON lacks is null, and what cannot be written fails that job
// and no other.
func TestOddResults(t *testing.T) {
	b := newBench(t, func(_ context.Context, job runpod.Job, _ runpod.Reporter) (runpod.Result, error) {
		if strings.Contains(string(job.Input), "broken") {
			return runpod.Result{Output: broken{}}, nil
		}
		return runpod.Result{Output: map[string]any{"odd": math.NaN(), "text": "a\xffb"}}, nil
	})
	if s := must[Status](t, b, "POST", "/runsync", `{"input": {}}`); s.State != Completed || string(s.Output) != `{"odd":null,"text":"a\ufffdb"}` {
		t.Errorf("%s %s", s.State, s.Output)
	}
	if s := must[Status](t, b, "POST", "/runsync", `{"input": "broken"}`); s.State != Failed || !strings.Contains(string(s.Output), "invalid_result") {
		t.Errorf("%s %s %s", s.State, s.Output, s.Error)
	}
}
