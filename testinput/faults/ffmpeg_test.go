package faults_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The fakes are confined like ffmpeg: they may start no process, but become one, and write to the clip's file alone.
const (
	onlyDecode = `case "$*" in *rawvideo*) exec FFMPEG "$@";; esac` + "\n"
	onlyEncode = `case "$*" in *rawvideo*) ;; *) exec FFMPEG "$@";; esac` + "\n"
	swallow    = "while read -r x; do :; done\n" // all frames
	hangs      = "exec sleep 600"
	waits      = "exec sleep 599 # for the signal " // from outside: in its confinement it cannot send one
	result     = "for last; do :; done; result=${last#file:}\n"
)

// TestFFmpeg puts another program in ffmpeg's place while a job is done. Afterwards the worker goes on with the true one.
func TestFFmpeg(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "HUMO_MEDIA_PATIENCE=4s")
	w.start()
	w.ready()
	for _, row := range []struct{ name, program, script, want string }{
		{"decoding fails", "ffmpeg", onlyDecode + "echo 'it broke' >&2; exit 1", "audio_undecodable audio"},
		{"decoding crashes", "ffmpeg", onlyDecode + waits + "SEGV", "audio_undecodable audio"},
		{"decoding is killed", "ffmpeg", onlyDecode + waits + "KILL", "media_killed audio (retryable)"},
		{"decoding hangs", "ffmpeg", onlyDecode + hangs, "media_stuck audio (retryable)"},
		{"decoding brings garbage", "ffmpeg", onlyDecode + "printf garbage; exit 0", "audio_empty audio"},
		{"probing fails", "ffprobe", "exit 1", "audio_undecodable audio"},
		{"probing hangs", "ffprobe", hangs, "media_stuck audio (retryable)"},
		{"probing prints garbage", "ffprobe", `echo '{"streams": [`, "audio_undecodable audio"},
		{"encoding fails", "ffmpeg", onlyEncode + "echo 'it broke' >&2; exit 1", "encode_failed"},
		{"encoding fails at the end", "ffmpeg", onlyEncode + swallow + "exit 1", "encode_failed"},
		{"encoding crashes", "ffmpeg", onlyEncode + waits + "SEGV", "encode_failed (retryable)"},
		{"encoding is killed", "ffmpeg", onlyEncode + waits + "KILL", "encode_failed (retryable)"},
		{"encoding hangs", "ffmpeg", onlyEncode + hangs, "encode_failed (retryable)"},
		{"encoding writes nothing", "ffmpeg", onlyEncode + swallow + "exit 0", "encode_failed (retryable)"},
		{"encoding writes garbage", "ffmpeg", onlyEncode + result + swallow + `printf 'no video at all' >"$result"`, "encode_failed (retryable)"},
		{"no program", "ffmpeg", "", "ffmpeg_unusable audio (retryable)"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := w.of(t)
			w.replace(row.program, row.script)
			w.give(row.name, "")
			if _, signal, waits := strings.Cut(row.script, waits); waits {
				w.signal("sleep 599", map[string]syscall.Signal{"SEGV": syscall.SIGSEGV, "KILL": syscall.SIGKILL}[signal])
			}
			w.ends(row.name, row.want)
			must(t, os.Remove(w.path("bin", row.program)))
			w.works(row.name + ", mended")
			w.nothingLeft()
		})
	}
	w.end()
}

// TestFFmpegMissing has no ffmpeg at the start, and none any more while the worker runs.
func TestFFmpegMissing(t *testing.T) {
	t.Run("at the start", func(t *testing.T) { // it ends before it takes a job
		t.Parallel()
		w := newWorld(t)
		w.env = append(w.env, "PATH="+w.path("bin"))
		w.give("job", "")
		w.start()
		if code := w.exit(); code != 1 || !strings.Contains(w.logs.String(), "add the package ffmpeg to the image") {
			t.Errorf("exit code %d", code)
		}
		if w.queue.Fate("job").Given != 0 {
			t.Error("the worker took a job that it could not do")
		}
		w.clean()
	})
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.env = append(w.env, "PATH="+w.path("bin"))
		link := func() {
			for _, name := range []string{"ffmpeg", "ffprobe"} {
				must(t, os.Symlink(tool(t, name), w.path("bin", name)))
			}
		}
		link()
		w.start()
		w.ready()
		for _, name := range []string{"ffmpeg", "ffprobe"} {
			must(t, os.Remove(w.path("bin", name)))
		}
		w.expect("broken", "", "ffmpeg_missing audio")
		link()
		w.works("mended")
		w.end()
	})
}

// ready waits until the worker has taken up its work.
func (w *world) ready() {
	w.t.Helper()
	w.until("the worker", func() bool { return strings.Contains(w.logs.String(), "The worker is ready.") })
}

// replace puts a script before a program in the worker's PATH; an empty one is a file that is no program.
func (w *world) replace(name, script string) {
	w.t.Helper()
	text := "\x00nothing that can be run"
	if script != "" {
		text = "#!/bin/sh\n" + strings.ReplaceAll(script, "FFMPEG", tool(w.t, name)) + "\n"
	}
	if err := os.WriteFile(w.path("bin", name), []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// signal waits for a process of the worker's with such arguments, and sends it a signal.
func (w *world) signal(arguments string, signal syscall.Signal) {
	w.t.Helper()
	w.until(arguments, func() bool {
		for _, process := range w.processes() {
			pid, rest, _ := strings.Cut(process, " ")
			if n, err := strconv.Atoi(pid); err == nil && strings.HasPrefix(rest, arguments) {
				must(w.t, syscall.Kill(n, signal))
				return true
			}
		}
		return false
	})
}

// tool is the path of an installed program.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
