package media

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// untrusted returns the input options for a user's file. The format list matters most: without it a playlist renamed
// to .wav makes ffmpeg read any other file it names, which the protocol list alone does not stop. "file:" keeps a name
// from being read as an option or a URL.
func untrusted(path string) []string {
	return []string{"-protocol_whitelist", "file,pipe", "-format_whitelist", "wav,mp3,flac,ogg,mov,aac,matroska", "-i", "file:" + path}
}

// tool is one run of ffmpeg or ffprobe, in a process group of its own that dies with the context.
type tool struct {
	*exec.Cmd
	name   string
	stderr tail
}

func newTool(ctx context.Context, name string, args ...string) (*tool, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fault.New("ffmpeg_missing", "", `%s is not installed on the worker. Install the package "ffmpeg": apt-get install ffmpeg`, name).Because(err)
	}
	t := &tool{Cmd: exec.CommandContext(ctx, path, args...), name: name}
	t.Env = bareEnvironment()
	t.Stderr = &t.stderr
	t.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cancel = func() error {
		if err := syscall.Kill(-t.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	t.WaitDelay = time.Second // for pipes that something else still holds open
	return t, nil
}

// bareEnvironment keeps the worker's keys and tokens from a program that parses foreign bytes.
func bareEnvironment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// wait ends the run. Its error is the cause to put into a fault: the exit status and what the tool said last.
func (t *tool) wait() error {
	err := t.Wait()
	if err == nil {
		return nil
	}
	if said := t.stderr.String(); said != "" {
		return fmt.Errorf("%s: %w: %s", t.name, err, said)
	}
	return fmt.Errorf("%s: %w", t.name, err)
}

// incomplete is a fault if the installed ffmpeg lacks a part that this package needs, else nil.
func (t *tool) incomplete(cause error) error {
	for symptom, part := range map[string]string{
		"resampling engine is unavailable": "libsoxr",
		"Unknown encoder 'libx264'":        "libx264",
	} {
		if strings.Contains(t.stderr.String(), symptom) {
			return fault.New("ffmpeg_missing", "", `The installed ffmpeg was built without %s. Install the distribution's package "ffmpeg": apt-get install ffmpeg`, part).Because(cause)
		}
	}
	return nil
}

// interrupted is the context's error in the words of what it interrupted, or nil.
func interrupted(ctx context.Context, doing string) error {
	if ctx.Err() == nil {
		return nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%s: %w: %w", doing, ctx.Err(), cause)
	}
	return fmt.Errorf("%s: %w", doing, ctx.Err())
}

// killed reports whether the tool was ended by a signal that we did not send: out of memory, most likely.
func (t *tool) killed() bool {
	if t.ProcessState == nil {
		return false
	}
	status, ok := t.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// tail keeps the end of what is written to it, and only printable characters of that: a file can make ffmpeg print
// what it likes, and this ends in a log.
type tail struct{ last []byte }

func (t *tail) Write(p []byte) (int, error) {
	const keep = 1000
	t.last = append(t.last, p...)
	t.last = t.last[max(0, len(t.last)-keep):]
	return len(p), nil
}

func (t *tail) String() string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return ' '
		case strconv.IsPrint(r):
			return r
		}
		return -1
	}, string(t.last)))
}
