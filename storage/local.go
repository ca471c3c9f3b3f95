package storage

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// LocalConfig are the settings of a local store.
type LocalConfig struct {
	// Output is the folder that results are written to. It is created when missing. Empty: OutputDir, then ./output.
	Output string `env:"HUMO_OUTPUT"`

	// OutputDir is another name for Output, which the original worker's templates set. Output wins.
	OutputDir string `env:"OUTPUT_DIR"`

	// BaseURL is the address under which somebody serves Local.Files. URLs then begin with it, are signed and expire.
	// Empty: file:// URLs.
	BaseURL string

	// Secret signs the URLs. Empty: a random one, so that URLs end with the process.
	Secret Secret

	// Expiry is how long signed URLs are good for, in seconds, from 60 to 604800, which is also the default.
	Expiry int
}

// Dir is the folder to use.
func (c LocalConfig) Dir() string { return cmp.Or(c.Output, c.OutputDir, "output") }

// Validate reports the settings that cannot work, by their names.
func (c LocalConfig) Validate() error {
	var problems []error
	name := "HUMO_OUTPUT"
	if c.Output == "" && c.OutputDir != "" {
		name = "OUTPUT_DIR"
	}
	if info, err := os.Stat(c.Dir()); err == nil && !info.IsDir() {
		problems = append(problems, fault.New(CodeInvalidSetting, name, "%s is a file; name a folder that results are written to", c.Dir()))
	}
	if u, err := url.Parse(c.BaseURL); c.BaseURL != "" &&
		(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		problems = append(problems, fault.New(CodeInvalidSetting, "BaseURL", "is no address that links can begin with; use one such as http://localhost:8000"))
	}
	if _, ok := lifetime(c.Expiry); !ok {
		problems = append(problems, fault.New(CodeInvalidSetting, "Expiry", "is %d seconds; it must be from %.0f to %.0f (1 minute to 7 days)",
			c.Expiry, MinExpiry.Seconds(), MaxExpiry.Seconds()))
	}
	return errors.Join(problems...)
}

// Local is a Store in a folder of this machine. Nothing outside the folder is written or read, even through symbolic
// links in it.
type Local struct {
	dir   string // absolute
	root  *os.Root
	links *links // nil: file:// URLs
}

// NewLocal opens the store in dir; its URLs are file:// URLs.
func NewLocal(dir string) (*Local, error) { return OpenLocal(LocalConfig{Output: dir}) }

// OpenLocal opens a store, creates its folder when it is missing, and removes what processes that died in the middle
// of a Put left behind.
func OpenLocal(cfg LocalConfig) (*Local, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dir := cfg.Dir()
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
	return &Local{dir: abs, root: root, links: newLinks(cfg)}, nil
}

// Close releases the folder. Objects stay.
func (l *Local) Close() error { return l.root.Close() }

func (l *Local) withExpiry(lifetime time.Duration) Store {
	if l.links == nil {
		return l
	}
	c, links := *l, *l.links
	links.expiry = lifetime
	c.links = &links
	return &c
}

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
		return Object{}, fault.New(CodeFailed, "HUMO_OUTPUT", "The result could not be written to the output folder %s; see whether it is full or read-only.", l.dir).
			Again().Because(err)
	}
	return l.object(key), nil
}

// object says where a stored object is.
func (l *Local) object(key string) Object {
	if l.links != nil {
		return l.links.sign(key)
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(l.dir, filepath.FromSlash(key)))}
	return Object{Key: key, URL: u.String()}
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

// Get reads an object.
func (l *Local) Get(ctx context.Context, key string) ([]byte, error) {
	f, err := l.open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(reader{ctx, f}, MaxGet+1))
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, l.unreadable(err)
	case len(data) > MaxGet:
		return nil, tooLarge(key)
	}
	return data, nil
}

// Download copies an object to a new file.
func (l *Local) Download(ctx context.Context, key, file string) (err error) {
	f, err := l.open(ctx, key)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	switch err := save(file, reader{ctx, f}); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return l.unreadable(err)
	}
	return nil
}

// save writes a new file.
func save(file string, from io.Reader) (err error) {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, from)
	return err
}

// Delete removes an object.
func (l *Local) Delete(ctx context.Context, key string) error {
	if !ValidKey(key) {
		return badKey(key)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := l.root.Remove(key)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotFolder) {
		return nil
	}
	return fault.New(CodeFailed, "HUMO_OUTPUT", "A file could not be removed from the output folder %s; see whether it is writable.", l.dir).Again().Because(err)
}

// Sign gives a fresh URL of an object.
func (l *Local) Sign(ctx context.Context, key string) (Object, error) {
	f, err := l.open(ctx, key)
	if err != nil {
		return Object{}, err
	}
	f.Close() //nolint:errcheck // only looked for
	return l.object(key), nil
}

// open opens an object to read it.
func (l *Local) open(ctx context.Context, key string) (*os.File, error) {
	if !ValidKey(key) {
		return nil, badKey(key)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	f, err := l.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotFolder) {
		return nil, notFound(key)
	}
	if err != nil {
		return nil, l.unreadable(err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		return f, nil
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		return nil, l.unreadable(err)
	}
	return nil, notFound(key) // the folder of objects
}

func (l *Local) unreadable(err error) error {
	return fault.New(CodeFailed, "HUMO_OUTPUT", "A result could not be read from the output folder %s; see whether it is there and readable.", l.dir).
		Again().Because(err)
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
