package testinput_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image/jpeg"
	"io"
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
	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/storage/storagetest"
)

// endpoint is a worker's surroundings: RunPod's queue, a bucket, the demo weights.
type endpoint struct {
	queue  *runpodtest.Server
	bucket *storagetest.S3Server
	env    []string
}

func newEndpoint(t *testing.T, settings ...string) *endpoint {
	t.Helper()
	e := &endpoint{queue: runpodtest.Start(t), bucket: storagetest.StartS3(t)}
	dir := t.TempDir()
	if err := weights.WriteDemo(filepath.Join(dir, "weights")); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	e.env = slices.Concat(os.Environ(), e.queue.Env(), e.bucket.Environ(), []string{
		"ONNXRUNTIME_LIB=" + library(), "HUMO_WEIGHTS=" + filepath.Join(dir, "weights"), "HUMO_INPUT_ROOT=" + root,
		"HUMO_TMP=" + filepath.Join(dir, "scratch"), "HUMO_OUTPUT=" + filepath.Join(dir, "output"), "WORKER_STATE_DIR=" + filepath.Join(dir, "state"),
		"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true", // the machine of a test may be smaller than a worker's
	}, settings)
	return e
}

// start starts a worker; what it logs is read with the returned function.
func (e *endpoint) start(t *testing.T) (cmd *exec.Cmd, log func() string) {
	t.Helper()
	var mu sync.Mutex
	var out bytes.Buffer
	cmd = exec.Command("humo-worker")
	cmd.Env, cmd.Dir = e.env, t.TempDir()
	cmd.Stdout = writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	})
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill() //nolint:errcheck // the test has failed
			cmd.Wait()         //nolint:errcheck // it was killed
		}
	})
	return cmd, func() string {
		mu.Lock()
		defer mu.Unlock()
		return out.String()
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// answer is a posted result.
type answer struct {
	Error  string
	Output struct {
		VideoURL    string `json:"video_url"`
		ManifestURL string `json:"manifest_url"`
		Mode        string
		Frames      int
		Seed        uint64
		Error       struct{ Code, Field string }
	}
}

func (e *endpoint) await(t *testing.T, id string) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(e.queue.AwaitResult(t, id)), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func download(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", response.StatusCode, err)
	}
	return data
}

// Three jobs from the queue, one of each kind, with the real engine and a real bucket; then SIGTERM.
func TestQueue(t *testing.T) {
	e := newEndpoint(t)
	e.queue.Give("ta", `{"prompt": "CANARY-PROMPT one", "audio": "volume:voice.wav", "frames": 5, "width": 64, "height": 48, "steps": 4, "seed": 1, "preview": 2}`)
	e.queue.Give("tia", `{"prompt": "CANARY-PROMPT two", "audio": "volume:voice.wav", "images": ["volume:person.png"], "frames": 5, "width": 48, "height": 64, "steps": 2}`)
	e.queue.Give("bad", `{"prompt": "CANARY-PROMPT three", "audio": "volume:voice.wav", "widht": 64, "steps": 0}`)
	cmd, log := e.start(t)
	for _, want := range []struct{ id, mode, size string }{{"ta", "TA", "64x48"}, {"tia", "TIA", "48x64"}} {
		a := e.await(t, want.id)
		if a.Error != "" || a.Output.Mode != want.mode || a.Output.Frames != 5 {
			t.Fatalf("%s: %+v\n%s", want.id, a, log())
		}
		file := filepath.Join(t.TempDir(), "video.mp4")
		if err := os.WriteFile(file, download(t, a.Output.VideoURL), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := media.Probe(t.Context(), file)
		if err != nil || info.Video == nil || info.Audio == nil || info.Video.Frames != 5 {
			t.Errorf("%s: %+v, %v", want.id, info, err)
		}
		if manifest := download(t, a.Output.ManifestURL); !json.Valid(manifest) || bytes.Contains(manifest, []byte("CANARY")) {
			t.Errorf("%s: manifest %s", want.id, manifest)
		}
	}
	bad := e.await(t, "bad")
	if bad.Error == "" || bad.Output.Error.Code != "invalid_input" || !strings.Contains(bad.Error, `did you mean "width"?`) || !strings.Contains(bad.Error, "steps") {
		t.Errorf("the invalid job is answered with %+v", bad)
	}
	if chunks := e.queue.Of(runpodtest.Chunk, "ta"); len(chunks) != 1 {
		t.Errorf("%d previews, want one: after step 2 of 4", len(chunks))
	} else {
		checkPreview(t, chunks[0].Body)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, log())
	}
	for _, secret := range []string{"CANARY-PROMPT", e.bucket.SecretAccessKey, runpodtest.Key, "X-Amz-Signature"} {
		if strings.Contains(log(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func checkPreview(t *testing.T, body []byte) {
	t.Helper()
	var chunk struct {
		Output struct {
			Preview string
			Step    int
		}
	}
	if err := json.Unmarshal(body, &chunk); err != nil {
		t.Fatal(err)
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(chunk.Output.Preview, "data:image/jpeg;base64,"))
	if err != nil {
		t.Fatal(err)
	}
	picture, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil || picture.Bounds().Dx() != 8 || picture.Bounds().Dy() != 6 || chunk.Output.Step != 2 {
		t.Errorf("the preview after step %d: %v, %v", chunk.Output.Step, picture, err)
	}
}

// A worker that is killed in the middle of a job, and gets it again, goes on from the last checkpoint and ends in the same
// bytes as one that is not; the seed, which nobody asked for, is the one that was drawn first.
func TestKilledJobResumes(t *testing.T) {
	e := newEndpoint(t, "HUMO_CHECKPOINT_EVERY=3")
	const fields = `"prompt": "a woman", "audio": "volume:voice.wav", "frames": 17, "width": 128, "height": 96, "steps": 60`
	e.queue.Give("killed", `{`+fields+`}`)
	cmd, log := e.start(t)
	for deadline := time.Now().Add(runpodtest.Patience); !slices.ContainsFunc(e.bucket.Objects(t), isCheckpoint); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no checkpoint was stored:\n%s", log())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
	if e.queue.Result("killed") != "" {
		t.Fatal("the job was done before the kill: the test shows nothing")
	}
	e.queue.Restarted()
	e.queue.Again("killed")
	_, log = e.start(t)
	resumed := e.await(t, "killed")
	if resumed.Error != "" || !strings.Contains(log(), "goes on from its last checkpoint") {
		t.Fatalf("%+v\n%s", resumed, log())
	}
	if slices.ContainsFunc(e.bucket.Objects(t), isCheckpoint) {
		t.Error("the checkpoint of a finished job is still there")
	}

	seed, err := json.Marshal(resumed.Output.Seed)
	if err != nil {
		t.Fatal(err)
	}
	e.queue.Give("whole", `{`+fields+`, "seed": `+string(seed)+`}`)
	whole := e.await(t, "whole")
	if !bytes.Equal(download(t, whole.Output.VideoURL), download(t, resumed.Output.VideoURL)) {
		t.Error("the resumed video differs from the uninterrupted one")
	}
}

// A job that is cancelled leaves no checkpoint: nobody will go on.
func TestCancelledJobLeavesNoCheckpoint(t *testing.T) {
	e := newEndpoint(t, "HUMO_CHECKPOINT_EVERY=3")
	e.queue.Give("cancelled", `{"prompt": "a woman", "audio": "volume:voice.wav", "frames": 17, "width": 128, "height": 96, "steps": 250}`)
	_, log := e.start(t)
	until := func(there bool) {
		t.Helper()
		for deadline := time.Now().Add(runpodtest.Patience); slices.ContainsFunc(e.bucket.Objects(t), isCheckpoint) != there; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("checkpoint stored: want %v\n%s", there, log())
			}
		}
	}
	until(true)
	e.queue.Cancel("cancelled")
	until(false)
	if e.queue.Result("cancelled") != "" {
		t.Error("a cancelled job was answered")
	}
}

func isCheckpoint(object string) bool { return strings.HasSuffix(object, "/checkpoint") }
