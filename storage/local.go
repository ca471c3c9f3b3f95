package storage

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// LocalConfig are the settings of a local store.
type LocalConfig struct {
	// Output is the folder that results are written to. It is created when missing. Empty: OutputDir, then ./output.
	Output string `env:"HUMO_OUTPUT"`

	// OutputDir is another name for Output, which the original worker's templates set. Output wins.
	OutputDir string `env:"OUTPUT_DIR"`
}

// Dir is the folder to use.
func (c LocalConfig) Dir() string { return cmp.Or(c.Output, c.OutputDir, "output") }

// Validate reports a setting that cannot work, by its name.
func (c LocalConfig) Validate() error {
	name := "HUMO_OUTPUT"
	if c.Output == "" && c.OutputDir != "" {
		name = "OUTPUT_DIR"
	}
	if info, err := os.Stat(c.Dir()); err == nil && !info.IsDir() {
		return fault.New("invalid_setting", name, "%s is a file; name a folder that results are written to", c.Dir())
	}
	return nil
}

// Local is a Store in a folder of this machine; its URLs are file:// URLs. Nothing is written outside the folder, even
// through symbolic links in it.
type Local struct {
	dir  string // absolute
	root *os.Root
}

// NewLocal opens the store in dir, creates the folder when it is missing, and removes what processes that died in the
// middle of a Put left behind.
func NewLocal(dir string) (*Local, error) {
	if err := (LocalConfig{Output: dir}).Validate(); err != nil {
		return nil, err
	}
	unusable := fault.New("output_unusable", "HUMO_OUTPUT", "The output folder %s cannot be used; set HUMO_OUTPUT to a folder that can be written to.", dir)
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, unusable.Because(err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, unusable.Because(err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, unusable.Because(err)
	}
	if err := sweep(root); err != nil {
		return nil, errors.Join(unusable.Because(err), root.Close())
	}
	return &Local{dir: abs, root: root}, nil
}

// Close releases the folder. Objects stay.
func (l *Local) Close() error { return l.root.Close() }

// Put copies file to dir/key: under a temporary name, flushed to the disk, then renamed. contentType is not kept: the
// key's extension says it.
func (l *Local) Put(ctx context.Context, key, file, _ string) (Object, error) {
	if !ValidKey(key) {
		return Object{}, badKey(key)
	}
	if err := l.put(ctx, key, file); err != nil {
		if ctx.Err() != nil {
			return Object{}, context.Cause(ctx)
		}
		return Object{}, fault.New("storage_failed", "HUMO_OUTPUT", "The result could not be written to the output folder %s; see whether it is full or read-only.", l.dir).
			Again().Because(err)
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(l.dir, filepath.FromSlash(key)))}
	return Object{Key: key, URL: u.String()}, nil
}

func (l *Local) put(ctx context.Context, key, file string) (err error) {
	src, err := os.Open(file)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read from
	p, err := createPartial(l.root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.discard()) }() // nothing is left to discard after commit
	if _, err := io.Copy(p, reader{ctx, src}); err != nil {
		return err
	}
	return p.commit(key)
}

// reader ends a copy when its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
