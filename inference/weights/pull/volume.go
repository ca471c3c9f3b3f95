package pull

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// lockName is the file whose lock a pull holds. It stays: removing it would let two processes hold locks of two files.
const lockName = ".pull.lock"

// lock takes the volume for one pull. Another process that has it is waited for.
func lock(ctx context.Context, l weights.Layout, log zerolog.Logger) (unlock func(), err error) {
	if err := os.MkdirAll(l.Root, 0o755); err != nil {
		return nil, cannotWrite(l.Root, err)
	}
	lock := flock.New(l.Path(lockName), flock.SetPermissions(0o644))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		log.Info().Msgf("Another process is pulling to %s; waiting until it is done.", l.Root)
		locked, err = lock.TryLockContext(ctx, 100*time.Millisecond)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, cannotWrite(l.Path(lockName), err)
	case !locked:
		return nil, fmt.Errorf("%s cannot be locked", l.Path(lockName))
	}
	return func() { _ = lock.Unlock() }, nil
}

// cannotWrite is the fault for a volume that does not take a file.
func cannotWrite(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG):
		return fault.New("disk_full", "", "there is no room left for %s; what has arrived is kept. Make room, or take a larger volume, and run the same command again", name).Because(cause(err))
	case errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission):
		return fault.New("volume_not_writable", "", "%s cannot be written; mount the volume for writing, or name another folder with --dir", name).Because(cause(err))
	case errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS):
		return fault.New("volume_not_lockable", "", "%s cannot be locked: this file system knows no locks, and without one two processes could spoil each other's files. Pull to another folder and copy the files", name).Because(cause(err))
	}
	return fault.New("volume_failed", "", "%s cannot be written; check the volume, and run the same command again", name).Because(cause(err))
}

// cause leaves out the path that the message has already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// roomFor checks that the volume takes so many bytes more. A volume that does not tell may take them.
func roomFor(dir string, bytes int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil //nolint:nilerr // writing will tell
	}
	free := int64(min(float64(st.Bavail)*float64(st.Bsize), 1<<62))
	if bytes > free {
		return fault.New("disk_full", "", "%s has %s free and %s are still to be fetched. Make room, or take a larger volume; nothing was fetched",
			dir, weights.Size(free), weights.Size(bytes))
	}
	return nil
}

// vacant reports whether nothing lies at a name, or a link that leads nowhere.
func vacant(name string) bool {
	_, err := os.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

// syncFolder makes a rename last. File systems that cannot do that need not.
func syncFolder(name string) {
	if d, err := os.Open(filepath.Dir(name)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}
