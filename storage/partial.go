package storage

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
)

// partial is a file that is being written. It lies in the root folder, so that one listing finds those of dead
// processes, and is locked as long as its writer lives: the kernel drops the lock however the process ends.
type partial struct {
	*os.File
	root *os.Root
	name string // within root
}

const partialPattern = ".*.partial"

func createPartial(root *os.Root) (*partial, error) {
	for {
		name := "." + rand.Text() + ".partial"
		f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return nil, err
		}
		// Between creation and lock another process may have taken the file for a dead one's and removed it.
		if lock(f) == nil && same(root, name, f) {
			return &partial{File: f, root: root, name: name}, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// commit makes the file durable under key.
func (p *partial) commit(key string) error {
	if err := p.Sync(); err != nil {
		return err
	}
	folder := path.Dir(key)
	if err := p.root.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := p.root.Rename(p.name, key); err != nil {
		return err
	}
	p.name = ""
	return syncFolder(p.root, folder)
}

// discard closes the file and removes it unless it was committed.
func (p *partial) discard() error {
	if p.name == "" {
		return p.Close()
	}
	return errors.Join(p.root.Remove(p.name), p.Close()) // removed while the lock is held
}

// syncFolder makes a rename durable; file systems that cannot flush a folder say EINVAL and need no flush.
func syncFolder(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errNoSync) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// sweep removes the partial files whose writers are dead, as far as it can: one that belongs to another user is no
// reason not to start.
func sweep(root *os.Root) error {
	names, err := fs.Glob(root.FS(), partialPattern)
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := root.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue // its writer finished, or it is not ours
		}
		if lock(f) == nil && same(root, name, f) {
			root.Remove(name) //nolint:errcheck // the next start tries again
		}
		f.Close() //nolint:errcheck // nothing was written
	}
	return nil
}

// same reports whether name still leads to the open file f.
func same(root *os.Root, name string, f *os.File) bool {
	there, err := root.Lstat(name)
	if err != nil {
		return false
	}
	open, err := f.Stat()
	return err == nil && os.SameFile(there, open)
}
