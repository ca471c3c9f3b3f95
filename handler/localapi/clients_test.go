package localapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/media"
)

func serveOn(t *testing.T, server *http.Server) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)                   //nolint:errcheck // it ends with the test
	t.Cleanup(func() { server.Close() }) //nolint:errcheck // the test is over
	return "http://" + l.Addr().String()
}

// needs skips a test where a program is missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed here", name)
		}
	}
}

// client runs a client program against a worker, in a folder of its own.
func (w *worker) client(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RUNPOD_ENDPOINT_BASE_URL="+w.base+"/v2", "RUNPOD_API_KEY=any", "RUNPOD_ENDPOINT_ID=demo")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, out, w.log())
	}
	return string(out)
}

// checkVideo checks what an example fetched.
func checkVideo(t *testing.T, dir string) {
	t.Helper()
	info, err := media.Probe(t.Context(), filepath.Join(dir, "video.mp4"))
	if err != nil || info.Video == nil || info.Video.Frames != 9 || info.Audio == nil {
		t.Errorf("the video: %+v, %v", info, err)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCheck48_Curl: the documents' curl examples work; a job gets from IN_QUEUE to COMPLETED while nothing but GET asks.
func TestCheck48_Curl(t *testing.T) {
	t.Parallel()
	needs(t, "curl", "bash")
	w := startWorker(t)
	dir := t.TempDir()
	out := w.client(t, dir, absolute(t, "../../examples/curl/run.sh"), "ta")
	if !strings.Contains(out, "IN_PROGRESS") || !strings.Contains(out, "COMPLETED") {
		t.Errorf("%s", out)
	}
	checkVideo(t, dir)
	curl := func(args ...string) string {
		return w.client(t, dir, "curl", append([]string{"-sS", "--fail-with-body"}, args...)...)
	}
	for prefix, test := range map[string]struct{ job, state string }{"": {brief, "COMPLETED"}, "/v2/demo": {wrong, "FAILED"}, "/demo": {wrong, "FAILED"}} {
		ticket := curl("-H", "Content-Type: application/json", "-d", test.job, w.base+prefix+"/run")
		var job status
		if err := json.Unmarshal([]byte(ticket), &job); err != nil || job.Status != "IN_QUEUE" {
			t.Fatalf("%s, %v", ticket, err)
		}
		if sync := curl(w.base + prefix + "/status-sync/" + job.ID); !strings.Contains(sync, test.state) {
			t.Errorf("%s", sync)
		}
		if post := curl("-X", "POST", w.base+prefix+"/status/"+job.ID); !strings.Contains(post, test.state) {
			t.Errorf("%s", post)
		}
		if stream := curl(w.base + prefix + "/stream/" + job.ID); !strings.Contains(stream, test.state) || strings.Contains(stream, "data:image/jpeg;base64,") != (test.job == brief) {
			t.Errorf("%.300s", stream)
		}
	}
}

// wire is a client with the Go SDK's habits: it posts where others get, takes 200 and nothing else for success, decodes
// whole numbers, and asks for a stream in a tight loop.
type wire struct {
	t    *testing.T
	base string
}

// goStatus is what the Go SDK's documentation says that a status is.
type goStatus struct {
	DelayTime     *int    `json:"delayTime,omitempty"`
	Error         *string `json:"error,omitempty"`
	ExecutionTime *int    `json:"executionTime,omitempty"`
	ID            *string `json:"id,omitempty"`
	Output        *any    `json:"output,omitempty"`
	Retries       *int    `json:"retries,omitempty"`
	Status        *string `json:"status,omitempty"`
}

func (w wire) ask(method, path string, body, to any) {
	w.t.Helper()
	data, err := json.Marshal(body)
	if body == nil {
		data = nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequest(method, w.base+path, bytes.NewBuffer(data))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer any")
	answer, err := (&http.Client{Timeout: 92 * time.Second}).Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %s: response status %s %s %v", method, path, answer.Status, text, err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		w.t.Fatalf("%s %s: json decoder error: %s: %s", method, path, err, text)
	}
}

// TestCheck49_GoClient: run, runSync, status, statusSync, stream, cancel, health and purgeQueue, as the Go SDK does them.
func TestCheck49_GoClient(t *testing.T) {
	t.Parallel()
	worker := startWorker(t)
	w := wire{t, worker.base + "/v2/demo"}
	job := func(text string) (v map[string]any) {
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	var ticket goStatus
	w.ask("POST", "/run", job(brief), &ticket)
	var chunks []map[string]any
	for final := false; !final; {
		var s struct {
			Status *string
			Stream []map[string]any
		}
		w.ask("POST", "/stream/"+*ticket.ID+"?wait=90000", nil, &s)
		chunks = append(chunks, s.Stream...)
		final = *s.Status == "COMPLETED" || *s.Status == "FAILED"
	}
	if len(chunks) != 1 || fmt.Sprint(chunks[0]["output"]) == "" { // steps 2, preview 1: one preview
		t.Errorf("%d chunks", len(chunks))
	}
	var s goStatus
	w.ask("POST", "/status/"+*ticket.ID, nil, &s)
	if *s.Status != "COMPLETED" || s.Error != nil || *s.ExecutionTime <= 0 || *s.DelayTime < 0 || s.Output == nil {
		t.Errorf("%+v", s)
	}
	s = goStatus{}
	w.ask("POST", "/runsync?wait=90000", job(wrong), &s)
	if *s.Status != "FAILED" || s.Error == nil || s.ExecutionTime == nil {
		t.Errorf("a job that fails: %+v", s)
	}
	ticket = goStatus{}
	w.ask("POST", "/run", job(long), &ticket)
	s = goStatus{}
	w.ask("POST", "/status-sync/"+*ticket.ID+"?wait=1000", nil, &s)
	if *s.Status != "IN_PROGRESS" {
		t.Errorf("%+v", s)
	}
	var waits goStatus
	w.ask("POST", "/run", job(brief), &waits)
	var purged struct {
		Status  *string
		Removed *int
	}
	if w.ask("POST", "/purge-queue", nil, &purged); *purged.Removed != 1 || *purged.Status != "completed" {
		t.Errorf("%+v", purged)
	}
	s = goStatus{}
	if w.ask("POST", "/cancel/"+*ticket.ID, nil, &s); *s.Status != "CANCELLED" || s.ExecutionTime == nil {
		t.Errorf("%+v", s)
	}
	var health struct {
		Workers struct{ Running, Idle, Initializing, Ready, Throttled *int }
		Jobs    struct{ InProgress, InQueue, Completed, Failed, Retried *int }
	}
	w.ask("GET", "/health", nil, &health)
	if *health.Jobs.Completed != 1 || *health.Jobs.Failed != 1 || *health.Jobs.InProgress != 0 || *health.Jobs.InQueue != 0 || health.Workers.Throttled == nil {
		t.Errorf("%+v", health)
	}

	// The example, which is a client of its own.
	needs(t, "go")
	binary := filepath.Join(t.TempDir(), "example")
	if out, err := exec.Command("go", "build", "-o", binary, "../../examples/go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := copied(t)
	worker.client(t, dir, binary, "tia")
	checkVideo(t, dir)
}

// copied is a folder with the examples of JavaScript and the files that the examples send.
func copied(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"examples/javascript/run.mjs", "examples/javascript/package.json", "examples/python/run.py", "testinput/voice.wav", "testinput/person.png"} {
		data, err := os.ReadFile(filepath.Join("../..", name))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestCheck50_JavaScriptSDK: the unmodified npm package, in the version that the example pins.
func TestCheck50_JavaScriptSDK(t *testing.T) {
	t.Parallel()
	needs(t, "npm", "node")
	w := startWorker(t)
	dir := filepath.Join(copied(t), "examples/javascript")
	w.client(t, dir, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel=error")
	out := w.client(t, dir, "node", "run.mjs", "tia")
	if !strings.Contains(out, "COMPLETED") {
		t.Errorf("%s", out)
	}
	checkVideo(t, dir)
	script, err := os.ReadFile("testdata/sdk.mjs")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "sdk.mjs"), script, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out := w.client(t, dir, "node", "sdk.mjs", brief, long, wrong); !strings.HasSuffix(out, "all is well\n") {
		t.Errorf("%s", out)
	}
}
