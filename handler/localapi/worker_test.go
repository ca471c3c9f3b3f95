package localapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/humo-worker/humo-worker/handler/cli"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// The test binary is the real program, too, for tests that go the whole way.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"humo-worker": func() { os.Exit(cli.Main("test")) }})
}

// Jobs of the demo bundle.
const (
	brief  = `{"input": {"prompt": "CANARY-PROMPT", "audio": "volume:voice.wav", "frames": 5, "width": 64, "height": 48, "steps": 2, "seed": 1, "preview": 1}}`
	long   = `{"input": {"prompt": "a woman", "audio": "volume:voice.wav", "frames": 97, "width": 256, "height": 256, "steps": 250}}`
	medium = `{"input": {"prompt": "a woman", "audio": "volume:voice.wav", "frames": 5, "width": 64, "height": 48, "steps": 200}}`
	wrong  = `{"input": {"prompt": "a woman", "audio": "volume:voice.wav", "widht": 64}}`
)

// worker is the program, serving on a port of its own with the demo weights.
type worker struct {
	*exec.Cmd
	base string // http://localhost:PORT
	key  string
	dir  string // its temporary files and results
	log  func() string
}

func startWorker(t testing.TB, settings ...string) *worker {
	t.Helper()
	w := &worker{Cmd: exec.Command("humo-worker", "--rp_serve_api", "--rp_api_port=0"), dir: t.TempDir()}
	if err := weights.WriteDemo(filepath.Join(w.dir, "weights")); err != nil {
		t.Fatal(err)
	}
	inputs, err := filepath.Abs("../../testinput")
	if err != nil {
		t.Fatal(err)
	}
	w.Dir = t.TempDir()
	w.Env = append(append(os.Environ(), "HUMO_WEIGHTS="+filepath.Join(w.dir, "weights"), "HUMO_INPUT_ROOT="+inputs, "HUMO_TMP="+filepath.Join(w.dir, "tmp"),
		"HUMO_OUTPUT="+filepath.Join(w.dir, "output"), "HUMO_CACHE=none"), settings...)
	var mu sync.Mutex
	var out bytes.Buffer
	w.Stdout = writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	})
	w.Stderr = w.Stdout
	w.log = func() string {
		mu.Lock()
		defer mu.Unlock()
		return out.String()
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.ProcessState == nil {
			w.Process.Kill() //nolint:errcheck // it may have ended
			w.Wait()         //nolint:errcheck // it was killed
		}
	})
	address := regexp.MustCompile(`are at (http://\S+)/ until`)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if m := address.FindStringSubmatch(w.log()); m != nil {
			w.base = m[1]
			return w
		}
		if time.Now().After(deadline) {
			t.Fatalf("the worker does not serve:\n%s", w.log())
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// ask is a request whose answer must be 200, decoded into to.
func (w *worker) ask(t testing.TB, method, path, body string, to any) {
	t.Helper()
	status, text := w.request(t, method, path, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: %d %s\n%s", method, path, status, text, w.log())
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
}

func (w *worker) request(t testing.TB, method, path, body string) (status int, text []byte) {
	t.Helper()
	r, err := http.NewRequest(method, w.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if w.key != "" {
		r.Header.Set("Authorization", "Bearer "+w.key)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log())
	}
	defer answer.Body.Close() //nolint:errcheck // only read from
	if text, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text
}

// logged reports whether the worker logs a text, soon: its lines come through a pipe.
func (w *worker) logged(text string) bool {
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(w.log(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// status is a job's.
type status struct {
	ID, Status, Error string
	ExecutionTime     int64
	Output            struct {
		VideoURL    string `json:"video_url"`
		ManifestURL string `json:"manifest_url"`
		Frames      int
		Error       struct{ Code, Field string }
	}
	Progress struct {
		Stage string
		Step  int
	}
}

func (w *worker) run(t testing.TB, job string) (id string) {
	t.Helper()
	var ticket status
	w.ask(t, "POST", "/run", job, &ticket)
	return ticket.ID
}

// until waits for a job to be in a state.
func (w *worker) until(t testing.TB, id, state string) (s status) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s = status{}
		if w.ask(t, "GET", "/status/"+id, "", &s); s.Status == state {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, want %s\n%s", s, state, w.log())
		}
	}
}

// The whole way on the demo bundle: a clip, its files in ranges, what is wrong with a job, an upload, a dry run beside a
// clip, a cancellation; then SIGTERM. Nothing that is secret or private is logged, and nothing is left behind.
func TestServe(t *testing.T) {
	config := filepath.Join(t.TempDir(), "generate.yaml")
	if err := os.WriteFile(config, []byte("variant: 1.7B\ngeneration: {scale_t: 2.5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := startWorker(t, "RUNPOD_LOG_LEVEL=DEBUG", "HUMO_CONFIG="+config, "HUMO_GPUS=none")
	var done status
	w.ask(t, "POST", "/runsync", brief, &done)
	if done.Status != "COMPLETED" || done.Output.Frames != 5 {
		t.Fatalf("%+v\n%s", done, w.log())
	}
	path := strings.TrimPrefix(done.Output.VideoURL, w.base)
	code, video := w.request(t, "GET", path, "")
	if code != 200 || !bytes.Contains(video[:32], []byte("ftyp")) {
		t.Fatalf("the video: %d, %d bytes", code, len(video))
	}
	r, err := http.NewRequest("GET", done.Output.VideoURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Range", "bytes=4-7")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	part, err := io.ReadAll(answer.Body)
	answer.Body.Close() //nolint:errcheck // read
	if err != nil || answer.StatusCode != http.StatusPartialContent || string(part) != "ftyp" || answer.Header.Get("Content-Type") != "video/mp4" {
		t.Errorf("a range: %d %q %v", answer.StatusCode, part, err)
	}
	if code, _ := w.request(t, "GET", strings.Replace(path, "signature=", "signature=0", 1), ""); code != http.StatusForbidden {
		t.Errorf("a changed link: %d", code)
	}
	if code, manifest := w.request(t, "GET", strings.TrimPrefix(done.Output.ManifestURL, w.base), ""); code != 200 || !json.Valid(manifest) {
		t.Errorf("the manifest: %d %s", code, manifest)
	}

	var info struct {
		Endpoint struct {
			Variant, Device string
			Models          map[string]struct {
				Text float64 `json:"scale_t"`
			}
		}
	}
	if w.ask(t, "GET", "/info", "", &info); info.Endpoint.Variant != "1.7B" || info.Endpoint.Device != "CPU, fp32" || info.Endpoint.Models["1.7B"].Text != 2.5 || info.Endpoint.Models["17B"].Text != 5 {
		t.Errorf("/info: %+v", info)
	}

	var bad status
	w.ask(t, "POST", "/runsync", wrong, &bad)
	if bad.Status != "FAILED" || bad.Output.Error.Field != "widht" || !strings.Contains(bad.Error, `did you mean "width"?`) {
		t.Errorf("%+v", bad)
	}

	voice, err := os.ReadFile("../../testinput/voice.wav")
	if err != nil {
		t.Fatal(err)
	}
	var upload struct{ Source string }
	w.ask(t, "POST", "/uploads", string(voice), &upload)
	id := w.run(t, strings.Replace(long, "volume:voice.wav", upload.Source, 1))
	w.until(t, id, "IN_PROGRESS")
	var dry status
	w.ask(t, "POST", "/runsync", strings.Replace(long, `"steps"`, `"dry_run": true, "steps"`, 1), &dry)
	if dry.Status != "COMPLETED" || dry.Output.Frames != 97 {
		t.Errorf("a dry run beside a clip: %+v", dry)
	}
	waiting := w.run(t, brief)
	began := time.Now()
	var cancelled status
	if w.ask(t, "POST", "/cancel/"+id, "", &cancelled); cancelled.Status != "CANCELLED" || time.Since(began) > time.Second {
		t.Errorf("%+v after %s", cancelled, time.Since(began))
	}
	w.until(t, waiting, "COMPLETED")
	if s := w.until(t, id, "CANCELLED"); s.Output.VideoURL != "" {
		t.Errorf("late: %+v", s)
	}

	code, text := w.request(t, "GET", "/", "")
	if code != 200 || !bytes.Contains(text, []byte("<html")) {
		t.Errorf("the page: %d %.100s", code, text)
	}
	w.signal(t, syscall.SIGTERM)
	began = time.Now()
	if err := w.Wait(); err != nil || time.Since(began) > 4*time.Second {
		t.Errorf("SIGTERM without a job: %v after %s\n%s", err, time.Since(began), w.log())
	}
	for _, secret := range []string{"CANARY", "signature=", "expires="} {
		if strings.Contains(w.log(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, w.log())
		}
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "tmp", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	found, err := filepath.Glob(filepath.Join(w.dir, "output", "*", "*"))
	for _, file := range found {
		if name := filepath.Base(file); err != nil || name != "video.mp4" && name != "manifest.json" {
			t.Errorf("%v in the output folder, %v", file, err)
		}
	}
}

func (w *worker) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := w.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// SIGTERM: the job that runs is finished and can still be asked for, the one that waits is failed with the reason, nothing
// new is taken, the exit code is 0.
func TestDrain(t *testing.T) {
	w := startWorker(t)
	running, waiting := w.run(t, medium), w.run(t, brief)
	w.until(t, running, "IN_PROGRESS")
	w.signal(t, syscall.SIGTERM)
	if s := w.until(t, waiting, "FAILED"); !strings.Contains(s.Error, "shut down") {
		t.Errorf("%+v", s)
	}
	if code, text := w.request(t, "POST", "/run", brief); code != http.StatusServiceUnavailable {
		t.Errorf("a new job: %d %s", code, text)
	}
	if s := w.until(t, running, "COMPLETED"); s.Output.VideoURL == "" {
		t.Errorf("%+v", s)
	}
	if err := w.Wait(); err != nil {
		t.Errorf("%v\n%s", err, w.log())
	}
}

// A second SIGTERM stops what runs, within seconds.
func TestSecondSignal(t *testing.T) {
	w := startWorker(t)
	id := w.run(t, long)
	for w.until(t, id, "IN_PROGRESS").Progress.Stage != "denoise" {
		time.Sleep(20 * time.Millisecond)
	}
	w.signal(t, syscall.SIGTERM)
	if !w.logged("Shutting down.") {
		t.Fatal(w.log())
	}
	began := time.Now()
	w.signal(t, syscall.SIGTERM)
	err := w.Wait()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%v after %s\n%s", err, took, w.log())
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "tmp", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A job of the client's own id outlives the server: one that was killed in the middle of it goes on from its last
// checkpoint under the next, and one that was done is not rendered again.
func TestRestart(t *testing.T) {
	settings := []string{"HUMO_OUTPUT=" + t.TempDir(), "HUMO_CHECKPOINT_EVERY=3", "LOCAL_API_KEY=" + strings.Repeat("k", 16)}
	job := strings.Replace(medium, `{"input"`, `{"id": "mine", "input"`, 1)
	w := startWorker(t, settings...)
	w.key = strings.Repeat("k", 16)
	w.run(t, job)
	checkpoint := filepath.Join(strings.TrimPrefix(settings[0], "HUMO_OUTPUT="), "mine", "checkpoint")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(checkpoint); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no checkpoint was stored:\n%s", w.log())
		}
	}
	w.signal(t, os.Kill)
	w.Wait() //nolint:errcheck // it was killed

	w = startWorker(t, settings...)
	w.key = strings.Repeat("k", 16)
	var first, second status
	w.ask(t, "POST", "/runsync", job, &first)
	if first.Status != "COMPLETED" || !w.logged("goes on from its last checkpoint") {
		t.Fatalf("%+v\n%s", first, w.log())
	}
	w.signal(t, syscall.SIGTERM)
	if err := w.Wait(); err != nil {
		t.Error(err)
	}
	w = startWorker(t, settings...)
	w.key = strings.Repeat("k", 16)
	w.ask(t, "POST", "/runsync", job, &second)
	if second.Status != "COMPLETED" || !w.logged("nothing is rendered") {
		t.Fatalf("%+v\n%s", second, w.log())
	}
	if strings.Contains(w.log(), w.key) {
		t.Error("the key is logged")
	}
	// The first server's link is good at this one, which has the same key.
	link, err := url.Parse(first.Output.VideoURL)
	if err != nil {
		t.Fatal(err)
	}
	w.key = ""
	if code, _ := w.request(t, "GET", link.RequestURI(), ""); code != http.StatusOK {
		t.Errorf("the first link: %d", code)
	}
	if code, _ := w.request(t, "GET", "/health", ""); code != http.StatusUnauthorized {
		t.Errorf("without the key: %d", code)
	}
}

// What cannot be served is refused at the start, with the cure.
func TestStartsThatAreRefused(t *testing.T) {
	for want, args := range map[string][]string{
		"set LOCAL_API_KEY":      {"--rp_api_host=0.0.0.0"},
		"--rp_api_concurrency: ": {"--rp_api_concurrency=0"},
		"--rp_api_port: ":        {"--rp_api_port=99999"},
	} {
		out, err := exec.Command("humo-worker", append([]string{"--rp_serve_api"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// Webhooks to this machine, or to the network behind it, are not connected to unless a setting says so.
func TestWebhookAddresses(t *testing.T) {
	called := make(chan string, 10)
	hook := &http.Server{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			called <- string(body)
		}
	})}
	address := serveOn(t, hook)
	job := strings.Replace(wrong, `{"input"`, `{"webhook": "`+address+`/x?token=CANARY", "input"`, 1)
	w := startWorker(t)
	w.run(t, job)
	if !w.logged("The webhook was not told; it is tried again.") || len(called) > 0 || !strings.Contains(w.log(), "private, local or reserved") || strings.Contains(w.log(), "CANARY") {
		t.Errorf("a webhook on this machine was called, or the log is wrong:\n%s", w.log())
	}
	w = startWorker(t, "HUMO_FETCH_TRUSTED=127.0.0.0/8")
	w.run(t, job)
	select {
	case body := <-called:
		var s status
		if err := json.Unmarshal([]byte(body), &s); err != nil || s.Status != "FAILED" || s.Output.Error.Field != "widht" || !strings.Contains(body, `"webhook":`) || !strings.Contains(body, `"input":{"prompt":"a woman"`) {
			t.Errorf("%s, %v", body, err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("the webhook was not called:\n%s", w.log())
	}
}
