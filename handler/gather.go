package handler

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// The largest files that are taken.
const (
	MaxAudioBytes = 100_000_000
	MaxImageBytes = 20_000_000
)

// gather copies the request's sources into dir, decodes each once to see that it can be, and returns what the engine
// is to do. It goes on after a problem, so that the caller learns of all at once.
func (h *Handler) gather(ctx context.Context, r *Request, dir string) (inference.Spec, Problems) {
	var problems Problems
	spec := inference.Spec{
		Variant: r.Variant, Mode: r.Mode, Prompt: r.Prompt, NegativePrompt: r.NegativePrompt,
		Frames: r.Frames, Width: r.Width, Height: r.Height, FPS: r.FPS,
		Steps: r.Steps, Shift: r.Shift, Seed: r.Seed,
		ScaleT: r.Scales.Text, ScaleA: r.Scales.Audio, ScaleI: r.Scales.Image,
		CRF: r.Output.CRF, OutputPath: filepath.Join(dir, "video.mp4"),
	}
	if r.Audio.kind != noSource {
		spec.AudioPath = filepath.Join(dir, "audio")
		frames, err := h.gatherAudio(ctx, r, spec.AudioPath)
		if err != nil {
			problems = append(problems, about("audio", err))
		}
		if r.Frames == 0 {
			spec.Frames = frames
		}
	}
	for i, image := range r.Images {
		if image.kind == noSource {
			continue
		}
		path := filepath.Join(dir, "image-"+strconv.Itoa(i))
		err := h.fetch(ctx, image, path, MaxImageBytes)
		if err == nil {
			_, err = media.DecodeImage(path)
		}
		if err != nil {
			problems = append(problems, about("images["+strconv.Itoa(i)+"]", err))
		}
		spec.ImagePaths = append(spec.ImagePaths, path)
	}
	return spec, problems
}

// gatherAudio returns the number of video frames that the audio lasts.
func (h *Handler) gatherAudio(ctx context.Context, r *Request, path string) (int, error) {
	if err := h.fetch(ctx, r.Audio, path, MaxAudioBytes); err != nil {
		return 0, err
	}
	wave, err := media.DecodeAudio(ctx, path, 0)
	if err != nil {
		return 0, err
	}
	frames := whisper.MergedFrames(whisper.AudioFrames(len(wave)), r.FPS)
	seconds := float64(len(wave)) / media.SampleRate
	switch {
	case frames < 1:
		return 0, fault.New("audio_too_short", "audio", "lasts %.2f s, less than one frame at %d fps; send more, 0.1 s at least", seconds, r.FPS)
	case r.Frames == 0 && frames > MaxFrames:
		return 0, fault.New("audio_too_long", "audio", "lasts %.1f s, which is %d frames at %d fps; the limit is %d frames: cut it, or set frames to a number",
			seconds, frames, r.FPS, MaxFrames)
	}
	return frames, nil
}

// about gives an error the field of the request that it is about.
func about(field string, err error) *fault.Error {
	problem := *ProblemsOf(err)[0]
	problem.Field = field
	return &problem
}

// fetch writes a source's bytes, at most limit of them, to a new file.
func (h *Handler) fetch(ctx context.Context, s Source, path string, limit int64) error {
	switch s.kind {
	case volumeSource:
		return h.fetchVolume(ctx, s.value, path, limit)
	case localSource:
		f, err := os.OpenFile(s.value, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return unopened(s.value, "check its permissions", err)
		}
		return copyFile(ctx, f, path, limit)
	}
	if int64(len(s.value))/4*3 > limit+3 {
		return tooLarge(limit)
	}
	data, err := s.decode()
	if err != nil {
		return fault.New(CodeInvalidSource, "", "cannot be decoded; check the base64 (or the %%-escapes of a data: URI)").Because(err)
	}
	if int64(len(data)) > limit {
		return tooLarge(limit)
	}
	return os.WriteFile(path, data, 0o600)
}

// fetchVolume copies a file that lies inside the input root. The root is held open and every step of the path is
// looked up from it, so that neither ".." nor a symbolic link nor a rename in between leads out of it.
func (h *Handler) fetchVolume(ctx context.Context, name, path string, limit int64) error {
	if h.config.InputRoot == "" {
		return fault.New(CodeSourceUnsupported, "", "is a volume: path and this endpoint has no input root; set HUMO_INPUT_ROOT, or send the bytes")
	}
	name = strings.TrimLeft(name, "/") // volume:/a and volume:a are the same file
	if name == "" || strings.ContainsRune(name, 0) {
		return fault.New(CodeInvalidSource, "", "names no file; write volume:PATH, relative to the input root")
	}
	root, err := os.OpenRoot(h.config.InputRoot)
	if err != nil {
		return fault.New("invalid_setting", "", "The input root cannot be opened; check HUMO_INPUT_ROOT.").Again().Because(err)
	}
	defer root.Close() //nolint:errcheck // only read from
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return unopened(name, "it must lie inside the input root, symbolic links included, and be readable", err)
	}
	return copyFile(ctx, f, path, limit)
}

// unopened explains why a file cannot be read.
func unopened(name, cure string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(CodeSourceNotFound, "", "there is no file %q; check the path", shorten(name)).Because(err)
	}
	return fault.New(CodeInvalidSource, "", "the file %q cannot be read; %s", shorten(name), cure).Because(err)
}

// copyFile copies a regular file and closes it. Pipes and devices are refused: reading them could last for ever (and
// so could opening them, which O_NONBLOCK prevents).
func copyFile(ctx context.Context, f *os.File, path string, limit int64) (err error) {
	defer f.Close() //nolint:errcheck // only read from
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fault.New(CodeInvalidSource, "", "is a folder, a pipe or a device; name a file")
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	n, err := io.Copy(out, io.LimitReader(contextReader{ctx, f}, limit+1))
	if err == nil && n > limit {
		return tooLarge(limit)
	}
	return err
}

func tooLarge(limit int64) error {
	return fault.New(CodeSourceTooLarge, "", "is larger than the limit of %d MB; send a smaller or more strongly compressed file", limit/1_000_000)
}

// contextReader ends a copy when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
