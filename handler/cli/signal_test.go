package cli_test

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/media"
)

// worker starts the program of TestMain in a folder of its own.
type worker struct {
	dir      string
	out, err bytes.Buffer
}

func newWorker(t *testing.T) *worker {
	t.Helper()
	w := &worker{dir: t.TempDir()}
	voice, err := os.ReadFile("../../testinput/voice.wav")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "voice.wav"), voice, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *worker) start(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	w.out.Reset()
	w.err.Reset()
	cmd := exec.Command("humo-worker", args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "HUMO_TMP="+filepath.Join(w.dir, "scratch"), "HUMO_OUTPUT="+filepath.Join(w.dir, "output"))
	cmd.Stdout, cmd.Stderr = &w.out, &w.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// await waits for a file to match the pattern.
func (w *worker) await(t *testing.T, pattern string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if found, _ := filepath.Glob(filepath.Join(w.dir, pattern)); len(found) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not appear in 20 s; output:\n%s%s", pattern, &w.out, &w.err)
		}
	}
}

// leftovers are the files that a run should not leave: all but results in their places.
func (w *worker) leftovers(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, dir := range []string{"scratch", "output"} {
		err := filepath.WalkDir(filepath.Join(w.dir, dir), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && filepath.Base(path) != "video.mp4" && filepath.Base(path) != "manifest.json" {
				all = append(all, path)
			}
			return nil // a folder that is not there holds nothing
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestSignals: a signal ends the work in order, with the exit code that a shell would give.
func TestSignals(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		code   int
		line   string
	}{
		{syscall.SIGINT, 130, "INFO   | SIGINT received. Shutting down.\n"},
		{syscall.SIGTERM, 143, "INFO   | SIGTERM received. Shutting down.\n"},
	} {
		w := newWorker(t)
		cmd := w.start(t, "generate", "--prompt", "wait", "--audio", "voice.wav")
		w.await(t, "scratch/*/job-*/waiting")
		if err := cmd.Process.Signal(c.signal); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() //nolint:errcheck // the code is looked at
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.signal, code, c.code)
		}
		if !strings.HasSuffix(w.err.String(), c.line) || w.out.Len() > 0 {
			t.Errorf("%v: output %q, log:\n%s", c.signal, &w.out, &w.err)
		}
		if left := w.leftovers(t); len(left) > 0 {
			t.Errorf("%v: left %q", c.signal, left)
		}
	}
}

// TestKilled kills the worker at random moments of a job. After the next start nothing temporary is left, and a result
// is whole or not there.
func TestKilled(t *testing.T) {
	w := newWorker(t)
	job := `{"input": {"prompt": "p", "audio": "volume:voice.wav", "frames": 49, "width": 160, "height": 128, "steps": 1}}`
	begun := time.Now()
	if cmd := w.start(t, "--test_input", job); cmd.Wait() != nil {
		t.Fatalf("the job fails:\n%s", &w.out)
	}
	whole := time.Since(begun)
	hits, results := 0, 0
	for round := range 10 {
		if err := os.RemoveAll(filepath.Join(w.dir, "output")); err != nil {
			t.Fatal(err)
		}
		cmd := w.start(t, "--test_input", job)
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		cmd.Process.Kill() //nolint:errcheck // Wait reports what happened
		cmd.Wait()         //nolint:errcheck // it was killed
		if len(w.leftovers(t)) > 0 {
			hits++
		}
		path := filepath.Join(w.dir, "output/local_test/video.mp4")
		if _, err := os.Stat(filepath.Join(w.dir, "output/local_test/manifest.json")); err == nil {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("round %d: a manifest without its video: %v", round, err)
			}
		}
		if _, err := os.Stat(path); err == nil {
			results++
			if info, err := media.Probe(t.Context(), path); err != nil || info.Video == nil || info.Video.Frames != 49 {
				t.Errorf("round %d: the result is not whole: %+v, error %v", round, info, err)
			}
		}
		// The next start: any job, here one that is refused.
		if cmd := w.start(t, "--test_input", `{"input": {}}`); cmd.Wait() == nil {
			t.Fatal("an empty job was accepted")
		}
		if left := w.leftovers(t); len(left) > 0 {
			t.Errorf("round %d: still there after the next start: %q", round, left)
		}
	}
	t.Logf("%d of 10 kills left something to clean up, %d came after the result", hits, results)
	if hits == 0 {
		t.Error("no kill hit a job: the test proves nothing")
	}
}
