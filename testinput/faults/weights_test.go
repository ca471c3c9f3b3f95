package faults_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	ditFile     = "HuMo/HuMo-1.7B/ema.pth"
	vaeFile     = "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"
	textFile    = "Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth"
	whisperFile = "whisper-large-v3/model.safetensors"
)

// TestWeights spoils a file before the start. The worker fails the job that it has taken with the reason, and ends with 1:
// no later job could be done.
func TestWeights(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		says  []string
	}{
		{"none", func(t *testing.T, dir string) { must(t, os.RemoveAll(dir)) }, []string{ditFile, whisperFile, "weights pull"}},
		{"one is missing", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, vaeFile))) }, []string{vaeFile, "is missing"}},
		{"a folder in its place", func(t *testing.T, dir string) {
			must(t, errors.Join(os.Remove(filepath.Join(dir, vaeFile)), os.Mkdir(filepath.Join(dir, vaeFile), 0o755)))
		}, []string{vaeFile}},
		{"cut short", func(t *testing.T, dir string) { cut(t, filepath.Join(dir, ditFile)) }, []string{ditFile}},
		{"cut short, safetensors", func(t *testing.T, dir string) { cut(t, filepath.Join(dir, whisperFile)) }, []string{whisperFile}},
		{"empty", func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, ditFile), 0)) }, []string{ditFile}},
		{"its head is noise", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, ditFile), 0, 64) }, []string{ditFile}},
		{"its head is noise, safetensors", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, whisperFile), 0, 9) }, []string{whisperFile}},
		{"wrong shapes", func(t *testing.T, dir string) {
			patch(t, filepath.Join(dir, whisperFile), `"shape":[32,128,3]`, `"shape":[128,32,3]`)
		}, []string{whisperFile, "32"}},
		{"one in another's place", func(t *testing.T, dir string) { copyFile(t, filepath.Join(dir, vaeFile), filepath.Join(dir, ditFile)) }, []string{ditFile}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			row.spoil(t, w.ownWeights())
			w.give("broken", "")
			w.start()
			w.prestartFails("broken", row.says...)
		})
	}
}

// TestWeightsUnreadable has weights that belong to somebody else.
func TestWeightsUnreadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := w.ownWeights()
	must(t, os.Chmod(filepath.Join(dir, ditFile), 0))
	if os.Getuid() == 0 { // whom permissions do not bind
		setpriv, err := exec.LookPath("setpriv")
		if err != nil {
			t.Skip("setpriv (util-linux) is not installed, and root reads everything")
		}
		w.before, w.program = "exec "+setpriv+" --bounding-set=-dac_override,-dac_read_search \"$0\"", program
	}
	w.give("broken", "")
	w.start()
	w.prestartFails("broken", ditFile, "permission denied")
}

// TestWeightsDamaged has files whose heads are whole and whose numbers are noise: what comes out is a clip of noise, or a
// fault; the worker lives.
func TestWeightsDamaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(w.ownWeights(), whisperFile)
	info, err := os.Stat(path)
	must(t, err)
	flip(t, path, info.Size()/2, 100_000)
	w.start()
	for _, id := range []string{"first", "second"} {
		w.give(id, "")
		if a := w.await(id); a.Error != "" && (a.Output.Error.Code == "" || a.Output.Error.Code == "internal") {
			t.Errorf("%s: %s", id, a.summary())
		}
	}
	w.end()
}

// TestWeightsWhileRunning changes the volume between two jobs: replaces the files by equal ones under the same names, as a
// second pull does, takes the volume away, and brings it back.
func TestWeightsWhileRunning(t *testing.T) {
	t.Run("replaced", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "HUMO_CACHE=none")
		dir := w.ownWeights()
		w.start()
		w.works("first")
		for _, name := range []string{ditFile, vaeFile, textFile, whisperFile} {
			path := filepath.Join(dir, name)
			copyFile(t, path, path+".new")
			must(t, os.Rename(path+".new", path))
		}
		w.works("second")
		w.end()
	})
	t.Run("gone and back", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "HUMO_CACHE=none")
		dir := w.ownWeights()
		w.start()
		w.works("first")
		must(t, os.Rename(dir, dir+".gone"))
		w.give("without", "")
		w.unreadable("without")
		must(t, os.Rename(dir+".gone", dir))
		w.works("second")
		w.end()
	})
	t.Run("unmounted", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "HUMO_CACHE=none")
		w.private()
		dir := w.ownWeights()
		w.before = "cp -r '" + dir + "' '" + dir + ".copy'\nmount -t tmpfs none '" + dir + "'\ncp -r '" + dir + ".copy'/. '" + dir + "'\n"
		must(t, os.RemoveAll(dir))
		must(t, os.CopyFS(dir, os.DirFS(demo)))
		w.start()
		w.works("first")
		// Below the mount lies the same folder: taken away, the volume is empty.
		for _, name := range []string{ditFile, vaeFile, textFile, whisperFile} {
			must(t, os.Remove(filepath.Join(dir, name)))
		}
		inside(t, w.cmd.Process.Pid, "umount -l '"+dir+"'")
		w.give("without", "")
		w.unreadable("without")
		for _, name := range []string{ditFile, vaeFile, textFile, whisperFile} {
			copyFile(t, filepath.Join(demo, name), filepath.Join(dir, name))
		}
		w.works("second")
		w.end()
	})
}

// unreadable checks that a job without the weights' volume says which file cannot be read.
func (w *world) unreadable(id string) {
	w.t.Helper()
	e := w.await(id).Output.Error
	if e.Code != "checkpoint_unreadable" || !e.Retryable || !strings.HasSuffix(e.Field, textFile) {
		w.t.Errorf("job %s: %+v", id, e)
	}
}

// inside runs shell commands in a process's namespaces.
func inside(t *testing.T, pid int, commands string) {
	t.Helper()
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		t.Skip("nsenter (util-linux) is not installed")
	}
	cmd := exec.Command(nsenter, "--preserve-credentials", "-U", "-m", "-t", strconv.Itoa(pid), "sh", "-c", commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", commands, err, out)
	}
}

// cut leaves the first half of a file.
func cut(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.Truncate(path, info.Size()/2))
}

// flip inverts bytes of a file.
func flip(t *testing.T, path string, at, n int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	for i := at; i < at+n; i++ {
		data[i] ^= 0xff
	}
	must(t, os.WriteFile(path, data, 0o644))
}

// patch replaces the first old text of a file by another of the same length.
func patch(t *testing.T, path, old, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Contains(data, []byte(old)) || len(old) != len(text) {
		t.Fatalf("%s has no %q", path, old)
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(string(data), old, text, 1)), 0o644))
}
