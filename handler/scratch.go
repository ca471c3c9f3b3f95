package handler

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Scratch is this process's folder for temporary files. It holds a lock that ends with the process, however that
// ends, so that the next process to start can tell which folders are left over, and removes them.
type Scratch struct {
	dir  string
	lock *flock.Flock
}

// What a fault of the folder is called.
const (
	codeTmp  = "tmp_unusable"
	fieldTmp = "HUMO_TMP"
)

const (
	scratchPattern = "process-*"
	scratchLock    = "lock"
)

// OpenScratch removes what dead processes left in parent and makes a folder of its own there.
func OpenScratch(parent string) (*Scratch, error) {
	unusable := fault.New(codeTmp, fieldTmp, "The folder %s for temporary files cannot be used; set HUMO_TMP to a folder that can be written to.", parent)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, unusable.Because(err)
	}
	sweepScratch(parent)
	for {
		s, err := newScratch(filepath.Join(parent, "process-"+rand.Text()))
		if err != nil {
			return nil, unusable.Because(err)
		}
		if s != nil {
			return s, nil
		}
	}
}

// newScratch returns nil if another process took the new folder, in the instant before it was locked, for a dead
// process's.
func newScratch(dir string) (*Scratch, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Scratch{dir: dir, lock: flock.New(filepath.Join(dir, scratchLock))}
	locked, err := s.lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!locked || !s.stands()) {
		return nil, s.lock.Close()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// stands reports whether the folder still holds the file that is locked.
func (s *Scratch) stands() bool {
	there, err := os.Lstat(filepath.Join(s.dir, scratchLock))
	if err != nil {
		return false
	}
	locked, err := s.lock.Stat()
	return err == nil && os.SameFile(there, locked)
}

// sweepScratch does what it can: a folder that belongs to another user, or that its own process removes at the same
// time, is no reason not to start.
func sweepScratch(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, scratchPattern))
	for _, dir := range dirs {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			continue // gone, or nothing of ours
		}
		lock := flock.New(filepath.Join(dir, scratchLock))
		if locked, err := lock.TryLock(); err == nil && locked {
			os.RemoveAll(dir) //nolint:errcheck // the next start tries again
		}
		lock.Close() //nolint:errcheck // it has served
	}
}

// Job makes a folder for one job. remove deletes it with all that is in it.
func (s *Scratch) Job() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(s.dir, "job-*")
	if err != nil {
		return "", nil, fault.New(codeTmp, fieldTmp, "No temporary files can be written in %s; see whether the disk is full.", s.dir).Again().Because(err)
	}
	return dir, func() {
		os.RemoveAll(dir) //nolint:errcheck // Close or the next start tries again
	}, nil
}

// Close removes the folder.
func (s *Scratch) Close() error {
	return errors.Join(os.RemoveAll(s.dir), s.lock.Close())
}
