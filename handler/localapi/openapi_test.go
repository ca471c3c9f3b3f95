package localapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// The description is valid OpenAPI 3.1, describes every route and no other, and what the server really answers is what it
// says, down to every field of every body.
func TestOpenAPI(t *testing.T) {
	b := newBench(t, echo)
	document, err := openapi3.NewLoader().LoadFromData(b.ask("GET", "/openapi.json", "").Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := document.Paths.Len(), len(b.routes); got != want {
		t.Errorf("%d paths are described, there are %d", got, want)
	}
	visited := map[string]bool{}
	check := func(method, path, template, body string, status int) []byte {
		t.Helper()
		visited[method+" "+template] = true
		item := document.Paths.Find(template)
		r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := b.ask(method, path, body)
		if w.Code != status {
			t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
		}
		operation := item.GetOperation(method)
		if operation == nil {
			t.Fatalf("%s %s is not described", method, template)
		}
		input := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: &routers.Route{Spec: document, Path: template, PathItem: item, Method: method, Operation: operation}},
			Status:                 w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		if err := openapi3filter.ValidateResponse(t.Context(), input); err != nil {
			t.Errorf("%s %s: %s\n%v", method, path, w.Body, err)
		}
		return w.Body.Bytes()
	}
	run := func(body string) string {
		var ticket Ticket
		if err := json.Unmarshal(check("POST", "/run", "/run", body, 200), &ticket); err != nil {
			t.Fatal(err)
		}
		return ticket.ID
	}
	running := run(`{"input": {"wait": 60000000000, "stream": 1}}`)
	waiting := run(`{"input": {"long": "` + strings.Repeat("x", 6000) + `"}}`)
	for path, status := range map[string]int{running: 200, waiting: 200, "nobody": 404} {
		for _, method := range both {
			check(method, "/status/"+path, "/status/{id}", "", status)
		}
		check("GET", "/jobs/"+path, "/jobs/{id}", "", status)
	}
	check("GET", "/health", "/health", "", 200)
	check("POST", "/cancel/"+running, "/cancel/{id}", "", 200)
	check("GET", "/status-sync/"+running, "/status-sync/{id}", "", 200)
	check("POST", "/status-sync/"+waiting, "/status-sync/{id}", "", 200)
	check("GET", "/stream/"+waiting, "/stream/{id}", "", 200)
	check("POST", "/stream/"+running, "/stream/{id}", "", 200)
	check("POST", "/cancel/"+waiting, "/cancel/{id}", "", 200)
	check("POST", "/runsync", "/runsync", `{"id": "failed", "input": {"fail": "x"}}`, 200)
	check("POST", "/retry/failed", "/retry/{id}", "", 200)
	check("POST", "/retry/"+waiting, "/retry/{id}", "", 409)
	check("POST", "/run", "/run", `{}`, 400)
	check("POST", "/runsync?wait=x", "/runsync", `{}`, 400)
	check("POST", "/purge-queue", "/purge-queue", "", 200)
	check("POST", "/health", "/health", "", 200)
	check("GET", "/jobs", "/jobs", "", 200)
	var up Upload
	if err := json.Unmarshal(check("POST", "/uploads", "/uploads", "x", 200), &up); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(up.Source, uploadScheme)
	check("DELETE", "/uploads/"+name, "/uploads/{id}", "", 200)
	check("DELETE", "/uploads/"+name, "/uploads/{id}", "", 404)
	check("GET", "/uploads/"+name, "/uploads/{id}", "", 404)
	check("GET", "/events/nobody", "/events/{id}", "", 404)
	for _, path := range []string{"/info", "/schema.json", "/openapi.json", "/ping", "/healthz"} {
		check("GET", path, path, "", 200)
	}
	for _, path := range []string{"/ping", "/healthz"} {
		check("POST", path, path, "", 200)
	}
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			if !visited[method+" "+path] {
				t.Errorf("%s %s is described and was not tried", method, path)
			}
		}
	}
	if ref := document.Components.Schemas["JobInput"].Value.Properties["a"].Ref; ref != components+"JobInput/$defs/b" {
		t.Errorf("the input's own references lead to %q", ref)
	}
	if source := document.Components.Schemas["JobInput"].Value; !strings.Contains(b.ask("GET", "/schema.json", "").Body.String(), `{"anyOf":[{"type":"boolean"},{"description":`) || source == nil {
		t.Error("an input's source does not take uploads")
	}
	if slices.Contains(document.Components.Schemas["Status"].Value.Required, "output") {
		t.Error("a status need not have an output")
	}
}

// Followers of a job hear of every change, at most twice a second, see the newest chunk, and are let go at the end.
func TestEvents(t *testing.T) {
	step := make(chan struct{})
	b := newBench(t, func(ctx context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		for i := range 50 {
			r.Progress(map[string]int{"step": i, "steps": 50})
			if err := r.Stream(i); err != nil {
				return runpod.Result{}, err
			}
		}
		select {
		case <-step:
		case <-ctx.Done():
		}
		return runpod.Result{Output: "done"}, nil
	})
	server := httptest.NewServer(b.handler)
	defer server.Close()
	id := must[Ticket](t, b, "POST", "/run", `{"input": {}}`).ID
	response, err := http.Get(server.URL + "/events/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("content type %s", kind)
	}
	time.AfterFunc(100*time.Millisecond, func() { close(step) })
	var names []string
	var last, chunk string
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			names = append(names, name)
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if last = data; names[len(names)-1] == "chunk" {
				chunk = data
			}
		}
	}
	var status Status
	if err := json.Unmarshal([]byte(last), &status); err != nil || status.State != Completed || string(status.Output) != `"done"` {
		t.Errorf("the last event: %s, %v", last, err)
	}
	if len(names) > 6 || !slices.Contains(names, "chunk") || chunk != `{"output":49}` {
		t.Errorf("events %v, the last chunk %s", names, chunk)
	}
	refused(t, b, "GET", "/events/nobody", "", 404, "job_not_found")
	b.streams.Store(maxEventStream)
	refused(t, b, "GET", "/events/"+id, "", 429, "too_many_streams")
}
