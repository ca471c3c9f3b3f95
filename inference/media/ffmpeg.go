package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/sandbox"
)

// untrusted returns the input options for a user's file. The format list matters most: without it a playlist renamed
// to .wav makes ffmpeg read any other file it names, which the protocol list alone does not stop. "file:" keeps a name
// from being read as an option or a URL. One thread is all that decoders of sound can use, and starts faster than many.
func untrusted(path string) []string {
	return []string{"-protocol_whitelist", "file,pipe", "-format_whitelist", "wav,mp3,flac,ogg,mov,aac,matroska", "-threads", "1", "-i", "file:" + path}
}

// tool is one run of ffmpeg or ffprobe, confined.
type tool struct {
	*sandbox.Cmd
	name string
}

func newTool(ctx context.Context, name string, p sandbox.Policy, args ...string) (*tool, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fault.New("ffmpeg_missing", "", `%s is not installed on the worker. Install the package "ffmpeg": apt-get install ffmpeg`, name).Because(err)
	}
	return &tool{sandbox.Command(ctx, p, path, args...), name}, nil
}

// start is Start in words.
func (t *tool) start(ctx context.Context) error {
	err := t.Start()
	if err == nil || ctx.Err() != nil {
		return err
	}
	return fault.New("ffmpeg_unusable", "", "%s of the worker cannot be started; humo-worker doctor says more.", t.name).Again().Because(err)
}

// incomplete is a fault if the installed ffmpeg lacks a part that this package needs, else nil.
func (t *tool) incomplete(cause error) error {
	for symptom, part := range map[string]string{
		"resampling engine is unavailable": "libsoxr",
		"Unknown encoder 'libx264'":        "libx264",
	} {
		if strings.Contains(t.Said(), symptom) {
			return fault.New("ffmpeg_missing", "", `The installed ffmpeg was built without %s. Install the distribution's package "ffmpeg": apt-get install ffmpeg`, part).Because(cause)
		}
	}
	return nil
}

// unheard is the fault of a run on sound that the sound is not to blame for, or nil.
func (t *tool) unheard(err error) error {
	if incomplete := t.incomplete(err); incomplete != nil {
		return incomplete
	}
	return stopped(t.Cmd, "audio", audioField, err)
}

// stopped is the fault of a run that the file is not to blame for, or not in the way that unreadable says: a limit was hit,
// or something killed the program. It is nil for other errors of Wait.
func stopped(c *sandbox.Cmd, what, field string, err error) error {
	limit, ok := errors.AsType[*sandbox.Exceeded](err)
	switch {
	case ok && limit.Limit == sandbox.Patience:
		return fault.New("media_stuck", field, "Reading the %s stood still for %s and was ended; try again.", what, limit.Bound).Again().Because(err)
	case ok:
		return fault.New("media_limit", field, "Reading the %s takes more %s than the limit of %s. Save it again in a plain format (WAV, PNG), or send a smaller one.",
			what, limit.Limit, limit.Bound).Because(err)
	case c.Murdered():
		return fault.New("media_killed", field, "Reading the %s was killed, most likely because the machine's memory ran out; try again.", what).Again().Because(err)
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

// lively reads from the tool's output and takes each read for a sign of life.
func (t *tool) lively(r io.Reader) io.Reader { return lively{t, r} }

type lively struct {
	t *tool
	r io.Reader
}

func (l lively) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.t.Alive(patient())
	return n, err
}
