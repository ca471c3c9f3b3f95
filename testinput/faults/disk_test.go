package faults_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiskFull fills the disk of a job's files at each of its stages: the file system has room for what comes before.
func TestDiskFull(t *testing.T) {
	for _, row := range []struct {
		name string
		kib  int    // of the folder for temporary files
		job  string // the job that does not fit
		want string
	}{
		{"no room for the input", 64, "", "tmp_unusable HUMO_TMP (retryable)"}, // the voice track has 121 KiB
		{"no room for the second input", 152, `"images": ["volume:person.png"]`, "tmp_unusable HUMO_TMP (retryable)"},
		{"no room for the video", 200, `"width": 192, "height": 192, "frames": 25, "steps": 1, "output": {"crf": 1}`, "encode_failed (retryable)"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "HUMO_CHECKPOINT_EVERY=0")
			w.small("scratch", row.kib)
			w.start()
			w.expect("broken", row.job, row.want)
			folders, err := filepath.Glob(w.seen("scratch/process-*/*"))
			if err != nil || len(folders) != 1 || filepath.Base(folders[0]) != "lock" {
				t.Errorf("left after the job: %q, %v", folders, err)
			}
			if held := w.deleted(); len(held) > 0 {
				t.Errorf("the worker holds files open that are gone: %q", held)
			}
			if row.kib >= 200 { // there is room for a smaller clip
				w.until("the room to come back", func() bool { return w.free("scratch") > 190 })
				w.works("smaller")
			}
			w.end()
		})
	}
}

// free is the room in a folder as the worker sees it, in KiB. After a job it comes back within a second or so; most likely the
// kernel holds a confined program's files until it gets to freeing its Landlock rules.
func (w *world) free(name string) uint64 {
	w.t.Helper()
	var disk unix.Statfs_t
	must(w.t, unix.Statfs(w.seen(name), &disk))
	return disk.Bfree * uint64(disk.Bsize) >> 10
}

// TestDiskFullOfCheckpoints has room for everything but the state between the steps: the job goes on without.
func TestDiskFullOfCheckpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "HUMO_CHECKPOINT_EVERY=1")
	w.small("scratch", 200)
	w.start()
	w.expect("job", `"width": 128, "height": 128, "frames": 17, "output": {"crf": 40}`, "ok")
	if !strings.Contains(w.logs.String(), "A checkpoint could not be stored; the job goes on without it.") {
		t.Error("the log says nothing of the checkpoint: the test shows nothing")
	}
	w.end()
}

// TestSmallFolders has no room for what the worker keeps beside its jobs: prompts' embeddings and the ledger of results.
func TestSmallFolders(t *testing.T) {
	for name, line := range map[string]string{
		"cache": "", // it is no fault that something is not remembered
		"state": "The job's end cannot be written to WORKER_STATE_DIR",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.small(name, 4)
			if name == "state" { // the folder of the worker's id takes the first page
				w.before += "dd if=/dev/zero of='" + w.path(name, "full") + "' bs=1k count=4 2>/dev/null || true\n"
			}
			w.start()
			w.works("first")
			w.works("second")
			if !strings.Contains(w.logs.String(), line) {
				t.Errorf("the log does not say %q", line)
			}
			w.end()
		})
	}
}

// TestReadOnly mounts the worker's folders read-only, one after the other.
func TestReadOnly(t *testing.T) {
	t.Run("what is only read", func(t *testing.T) { // a network volume may be mounted so
		t.Parallel()
		w := newWorld(t)
		w.readOnly(w.ownWeights())
		w.readOnly(w.path("inputs"))
		w.start()
		w.works("job")
		w.end()
	})
	t.Run("what is written beside the job", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.readOnly(w.path("cache"))
		w.readOnly(w.path("state"))
		w.start()
		w.works("job")
		if !strings.Contains(w.logs.String(), "WORKER_STATE_DIR cannot be written to: results would not survive a killed worker.") {
			t.Error("the log does not say that results would not survive")
		}
		w.end()
	})
	t.Run("temporary files", func(t *testing.T) { // the worker cannot do anything: it ends before it takes a job
		t.Parallel()
		w := newWorld(t)
		w.readOnly(w.path("scratch"))
		w.start()
		w.give("job", "")
		if code := w.exit(); code != 1 {
			t.Errorf("exit code %d", code)
		}
		if !strings.Contains(w.logs.String(), "tmp_unusable") || !strings.Contains(w.logs.String(), "HUMO_TMP") {
			t.Error("the log does not say what is wrong")
		}
		if w.queue.Fate("job").Given != 0 {
			t.Error("the worker took a job that it could not do")
		}
		w.clean()
	})
	t.Run("the output folder of a local run", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		if err := os.Mkdir(w.path("output"), 0o755); err != nil {
			t.Fatal(err)
		}
		w.env = append(w.env, "HUMO_OUTPUT="+w.path("output"))
		w.readOnly(w.path("output"))
		code := w.local("")
		if code != 1 || !strings.Contains(w.logs.String(), `"code":"storage_failed","field":"HUMO_OUTPUT","retryable":true`) {
			t.Errorf("exit code %d", code)
		}
		w.clean()
	})
	t.Run("the output folder full", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		if err := os.Mkdir(w.path("output"), 0o755); err != nil {
			t.Fatal(err)
		}
		w.env = append(w.env, "HUMO_OUTPUT="+w.path("output"))
		w.small("output", 4)
		code := w.local("")
		if code != 1 || !strings.Contains(w.logs.String(), `"code":"storage_failed","field":"HUMO_OUTPUT","retryable":true`) {
			t.Errorf("exit code %d", code)
		}
		w.clean()
	})
}
