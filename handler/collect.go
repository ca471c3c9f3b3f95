package handler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/humo-worker/humo-worker/handler/fetch"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// The largest files that are taken.
const (
	MaxAudioBytes = 100_000_000
	MaxImageBytes = 20_000_000
)

// maxAtOnce is how many sources of a job are fetched at the same time.
const maxAtOnce = 4

// input is a source on its way into a file.
type input struct {
	field  string
	source Source
	path   string
	limit  int64
	err    error // of the way
}

// collect writes the inputs' bytes to their files, several at a time. It leaves each one's error in it.
func (h *Handler) collect(parent context.Context, inputs []*input) {
	perJob, bytes := h.client.PerJob()
	ctx, stop := context.WithTimeoutCause(parent, perJob, slowDownloads(perJob))
	defer stop()
	left := newAllowance(bytes)
	tasks := make([]func(), len(inputs))
	for i, in := range inputs {
		tasks[i] = func() { in.err = h.fetch(ctx, in.source, in.path, in.limit, left) }
	}
	together(maxAtOnce, tasks...)
}

// together runs tasks side by side, at most so many at once. A panic in one of them is the caller's: Handle survives those of
// its own goroutine only.
func together(most int, tasks ...func()) {
	var group errgroup.Group
	group.SetLimit(most)
	var crash atomic.Value
	for _, task := range tasks {
		group.Go(func() error {
			defer func() {
				if r := recover(); r != nil {
					crash.Store(fmt.Sprintf("%v\n%s", r, debug.Stack()))
				}
			}()
			task()
			return nil
		})
	}
	group.Wait() //nolint:errcheck // no function returns one
	if c := crash.Load(); c != nil {
		panic(c)
	}
}

func slowDownloads(limit time.Duration) error {
	return fault.New(fetch.CodeTimeout, "", "did not arrive before all downloads of the job had taken %s; send fewer or smaller files, or use a faster server", limit).Again()
}

// fetch writes a source's bytes, at most limit of them, to a new file.
func (h *Handler) fetch(ctx context.Context, s Source, path string, limit int64, left *allowance) error {
	switch s.kind {
	case urlSource:
		return h.fetchURL(ctx, s.value, path, limit, left)
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

func (h *Handler) fetchURL(ctx context.Context, url, path string, limit int64, left *allowance) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return h.client.Fetch(ctx, url, left.writer(out), limit)
}

// fetchVolume copies a file that lies inside the input root. The root is held open and every step of the path is
// looked up from it, so that neither ".." nor a symbolic link nor a rename in between leads out of it.
func (h *Handler) fetchVolume(ctx context.Context, name, path string, limit int64) error {
	if h.config.InputRoot == "" {
		return fault.New(CodeSourceUnsupported, "", "is a volume: path and this endpoint has no input root; set HUMO_INPUT_ROOT, or send the bytes or a URL")
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
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

// allowance is what the downloads of a job may still bring, all together.
type allowance struct {
	limit int64
	left  atomic.Int64
}

func newAllowance(limit int64) *allowance {
	a := &allowance{limit: limit}
	a.left.Store(limit)
	return a
}

func (a *allowance) writer(to io.Writer) io.Writer { return allowed{a, to} }

type allowed struct {
	*allowance
	to io.Writer
}

func (a allowed) Write(p []byte) (int, error) {
	if a.left.Add(-int64(len(p))) < 0 {
		return 0, fault.New(CodeSourceTooLarge, "", "takes the downloads of the job over their limit of %.1f MB in all (RUNPOD_MAX_DOWNLOAD_BYTES); send fewer or smaller files", float64(a.limit)/1e6)
	}
	return a.to.Write(p)
}
