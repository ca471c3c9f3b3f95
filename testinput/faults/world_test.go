package faults_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/storage/storagetest"
)

// world is a worker with its surroundings: RunPod's queue, a bucket behind a network that can fail, folders of its own.
type world struct {
	t       *testing.T // that it serves now
	owner   *testing.T // that it was made for
	queue   *runpodtest.Server
	bucket  *storagetest.S3Server
	network *storagetest.Proxy // what the worker takes for the bucket's address
	dir     string
	env     []string
	program string
	attr    *syscall.SysProcAttr
	before  string // shell commands before the worker, in its namespaces; empty: no shell

	cmd    *exec.Cmd
	ended  chan struct{}
	logs   logs
	secret []string // further texts that no log may hold
}

const canary = "CANARY-PROMPT"

// newWorld makes a world in which nothing is broken. settings win over its own.
func newWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	w := &world{t: t, owner: t, queue: runpodtest.Start(t), bucket: storagetest.StartS3(t), dir: t.TempDir(), program: program}
	w.network = storagetest.StartProxy(t, w.bucket.Endpoint)
	for _, name := range []string{"scratch", "state", "cache", "cwd", "bin", "tmp", "home", "inputs"} {
		if err := os.Mkdir(w.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"voice.wav", "person.png"} {
		copyFile(t, filepath.Join("..", name), w.path("inputs", name))
	}
	w.env = slices.Concat(w.queue.Env(), w.bucket.At(w.network.URL).Environ(), []string{
		"PATH=" + w.path("bin") + ":" + os.Getenv("PATH"), "HOME=" + w.path("home"), "TMPDIR=" + w.path("tmp"),
		"ONNXRUNTIME_LIB=" + library(), "HUMO_WEIGHTS=" + demo, "HUMO_INPUT_ROOT=" + w.path("inputs"),
		"HUMO_TMP=" + w.path("scratch"), "WORKER_STATE_DIR=" + w.path("state"), "HUMO_CACHE=" + w.path("cache"),
		"HUMO_THREADS=1", "HUMO_NO_SPIN=true", // several workers share this machine
		"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true", // it may be smaller than a worker's
	}, settings)
	return w
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ownWeights gives the world weights that a test may spoil.
func (w *world) ownWeights() string {
	w.t.Helper()
	dir := w.path("weights")
	if err := os.CopyFS(dir, os.DirFS(demo)); err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "HUMO_WEIGHTS="+dir)
	return dir
}

// start starts the worker.
func (w *world) start() {
	w.t.Helper()
	w.cmd = exec.Command(w.program)
	if w.before != "" {
		w.cmd = exec.Command("sh", "-c", "set -e\n"+w.before+"\nexec \"$0\"", w.program)
	}
	w.cmd.Env, w.cmd.Dir, w.cmd.SysProcAttr = w.env, w.path("cwd"), w.attr
	w.cmd.Stdout, w.cmd.Stderr, w.cmd.WaitDelay = &w.logs, &w.logs, 5*time.Second
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	cmd, ended := w.cmd, make(chan struct{})
	w.ended = ended
	go func() {
		cmd.Wait() //nolint:errcheck // whoever wants to know looks at its state
		close(ended)
	}()
	w.t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // most have ended
		<-ended
		if w.owner.Failed() {
			text := w.logs.String()
			w.owner.Logf("the worker's log (its end):\n%s", text[max(0, len(text)-6000):])
		}
	})
}

// patience is how long anything may take: much longer than it does on a machine that is busy with other tests.
const patience = 3 * time.Minute

// until waits for a condition.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// exit waits for the worker's end and returns its exit code.
func (w *world) exit() int {
	w.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(patience):
		w.t.Fatal("the worker does not end")
	}
	return w.cmd.ProcessState.ExitCode()
}

// answer is a posted result.
type answer struct {
	Error  string
	Output struct {
		VideoURL  string    `json:"video_url"`
		ExpiresAt time.Time `json:"expires_at"`
		Frames    int
		Error     struct {
			Code, Field string
			Retryable   bool
		}
	}
}

// summary is "ok", or code, field and whether it may be tried again.
func (a answer) summary() string {
	if a.Error == "" {
		return "ok"
	}
	e := a.Output.Error
	return strings.TrimSpace(fmt.Sprintf("%s %s", e.Code, e.Field)) + map[bool]string{true: " (retryable)", false: ""}[e.Retryable]
}

// job is the input of a small clip; fields, "name": value, replace its own.
func job(fields string) string {
	input := map[string]any{
		"prompt": canary + " a woman speaks", "audio": "volume:voice.wav", "frames": 5, "width": 32, "height": 32, "steps": 4, "seed": 7,
	}
	if err := json.Unmarshal([]byte("{"+fields+"}"), &input); err != nil {
		panic(err)
	}
	text, err := json.Marshal(input)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// give queues a job.
func (w *world) give(id, fields string) { w.queue.Give(id, job(fields)) }

// await waits for the job's accepted result.
func (w *world) await(id string) answer {
	w.t.Helper()
	w.until("a result of "+id, func() bool { return w.queue.Result(id) != "" })
	var a answer
	if err := json.Unmarshal([]byte(w.queue.Result(id)), &a); err != nil {
		w.t.Fatal(err)
	}
	return a
}

// expect gives a job and checks how it ends.
func (w *world) expect(id, fields, want string) answer {
	w.t.Helper()
	w.give(id, fields)
	return w.ends(id, want)
}

// ends waits for the job's result and checks it.
func (w *world) ends(id, want string) answer {
	w.t.Helper()
	a := w.await(id)
	if got := a.summary(); got != want {
		w.t.Errorf("job %s: %s, want %s\n%s", id, got, want, a.Error)
	}
	return a
}

// works gives a job that must succeed, and looks at its video.
func (w *world) works(id string) {
	w.t.Helper()
	if a := w.expect(id, "", "ok"); a.Error == "" {
		w.video(a)
	}
}

// video checks that a result's video is whole, and returns it.
func (w *world) video(a answer) []byte {
	w.t.Helper()
	response, err := http.Get(a.Output.VideoURL)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		w.t.Fatalf("status %d, %v", response.StatusCode, err)
	}
	file := filepath.Join(w.t.TempDir(), "video.mp4")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	info, err := media.Probe(w.t.Context(), file)
	if err != nil || info.Video == nil || info.Audio == nil || info.Video.Frames != a.Output.Frames {
		w.t.Errorf("the video is not whole: %+v, %v", info, err)
	}
	return data
}

// of is the same world in a test within the world's own.
func (w *world) of(t *testing.T) *world {
	w.t = t
	t.Cleanup(func() { w.t = w.owner })
	return w
}

// nothingLeft checks what a job may not leave in a worker that goes on.
func (w *world) nothingLeft() {
	w.t.Helper()
	for _, file := range files(w.t, w.path("scratch")) {
		if filepath.Base(file) != "lock" {
			w.t.Errorf("left after the job: %s", file)
		}
	}
	for _, file := range w.deleted() {
		w.t.Errorf("the worker holds a file open that is gone: %s", file)
	}
	if running := w.processes(); len(running) != 1 {
		w.t.Errorf("processes after the job: %q", running)
	}
}

// deleted are files without a name that the worker holds open: they take room that nobody sees.
func (w *world) deleted() (all []string) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.cmd.Process.Pid))
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, w.dir) && strings.HasSuffix(target, " (deleted)") {
			all = append(all, target)
		}
	}
	return all
}

// end stops the worker in order and checks that nothing is left.
func (w *world) end() {
	w.t.Helper()
	w.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // its state is looked at
	if code := w.exit(); code != 0 {
		w.t.Errorf("exit code %d after SIGTERM", code)
	}
	w.clean()
}

// clean checks that an ended worker left nothing: no file, no part of an object, no process, and no secret in its log.
func (w *world) clean() {
	w.t.Helper()
	for _, name := range []string{"scratch", "tmp", "home", "cwd", "cache"} {
		for _, file := range files(w.t, w.path(name)) {
			if filepath.Ext(file) != ".embedding" {
				w.t.Errorf("left in %s: %s", name, file)
			}
		}
	}
	for _, key := range w.bucket.Objects(w.t) {
		if base := filepath.Base(key); base != "video.mp4" && base != "manifest.json" {
			w.t.Errorf("left in the bucket: %s", key)
		}
	}
	if uploads := w.bucket.Uploads(w.t); len(uploads) > 0 {
		w.t.Errorf("uploads that are neither complete nor aborted: %q", uploads)
	}
	for _, process := range w.processes() {
		w.t.Errorf("a process is left: %s", process)
	}
	for _, secret := range append(w.secret, canary, w.bucket.SecretAccessKey, runpodtest.Key, "X-Amz-Signature") {
		if strings.Contains(w.logs.String(), secret) {
			w.t.Errorf("the log holds %q", secret)
		}
	}
}

// files are those below dir, at any depth.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// processes are those that the worker began and that live: their environment or their arguments name the world's folder.
func (w *world) processes() (all []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		arguments, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		environment, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil && bytes.Contains(append(arguments, environment...), []byte(w.dir+"/")) && len(arguments) > 0 {
			all = append(all, filepath.Base(dir)+" "+strings.ReplaceAll(string(arguments), "\x00", " "))
		}
	}
	return all
}

// logs is what the worker prints.
type logs struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

// local does a job as a local run, without queue and bucket, and returns the exit code.
func (w *world) local(fields string) int {
	w.t.Helper()
	w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "BUCKET_") || strings.HasPrefix(v, "RUNPOD_WEBHOOK_") })
	if err := os.WriteFile(w.path("cwd", "test_input.json"), []byte(`{"id": "local", "input": `+job(fields)+`}`), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.start()
	code := w.exit()
	if err := os.Remove(w.path("cwd", "test_input.json")); err != nil {
		w.t.Fatal(err)
	}
	return code
}

// writeFile replaces what is in a file, whose name may be mounted elsewhere: it stays the same file.
func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
