//go:build long

package testinput_test

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// TestKilledWithRealEngine kills a real run at random moments. After the next start nothing is left anywhere that the
// process may write, and a result is whole or not there.
func TestKilledWithRealEngine(t *testing.T) {
	dir := t.TempDir()
	if err := weights.WriteDemo(filepath.Join(dir, "weights")); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"tmp", "home"} { // whatever a library puts there would be noticed
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	start := func(args ...string) *exec.Cmd {
		cmd := exec.Command("humo-worker", args...)
		cmd.Env = append(os.Environ(), "ONNXRUNTIME_LIB="+library(), "TMPDIR="+filepath.Join(dir, "tmp"), "HOME="+filepath.Join(dir, "home"),
			"HUMO_TMP=", "HUMO_CACHE="+filepath.Join(dir, "cache"), "HUMO_WEIGHTS="+filepath.Join(dir, "weights"), "HUMO_OUTPUT="+filepath.Join(dir, "output"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	begun := time.Now()
	if err := start("--test_input", "test_input.json").Wait(); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(begun)
	hits := 0
	for round := range 20 {
		if err := os.RemoveAll(filepath.Join(dir, "output")); err != nil {
			t.Fatal(err)
		}
		cmd := start("--test_input", "test_input.json")
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		cmd.Process.Kill() //nolint:errcheck // Wait reports what happened
		cmd.Wait()         //nolint:errcheck // it was killed
		if len(leftovers(t, dir)) > 0 {
			hits++
		}
		path := filepath.Join(dir, "output/local_test/video.mp4")
		if _, err := os.Stat(path); err == nil {
			if info, err := media.Probe(t.Context(), path); err != nil || info.Video == nil || info.Video.Frames != 17 {
				t.Errorf("round %d: the result is not whole: %+v, error %v", round, info, err)
			}
		}
		if start("--test_input", `{"input": {}}`).Wait() == nil {
			t.Fatal("an empty job was accepted")
		}
		if left := leftovers(t, dir); len(left) > 0 {
			t.Errorf("round %d: still there after the next start: %q", round, left)
		}
	}
	t.Logf("%d of 20 kills left something to clean up", hits)
	if hits == 0 {
		t.Error("no kill hit a job: the test proves nothing")
	}
}

// leftovers are the files below dir but the weights, results and the embeddings of prompts.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if strings.HasPrefix(path, filepath.Join(dir, "cache")) {
			return nil
		}
		if !strings.HasPrefix(path, filepath.Join(dir, "weights")) && filepath.Base(path) != "video.mp4" && filepath.Base(path) != "manifest.json" || strings.HasPrefix(path, filepath.Join(dir, "tmp")) {
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
