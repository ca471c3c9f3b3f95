package textcache

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// folder keeps a file per embedding, named after its key.
type folder struct {
	dir   string
	limit int64 // bytes of all files together
}

const (
	suffix    = ".embedding"
	temporary = ".part-" // begins the name of a file that is being written
)

func (f *folder) path(key Key) string { return filepath.Join(f.dir, fmt.Sprintf("%x%s", key, suffix)) }

// read returns the embedding of a key. Using a file makes it the youngest.
func (f *folder) read(key Key) (*Embedding, error) {
	path := f.path(key)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile { // opening a pipe would wait for its writer
		return nil, fmt.Errorf("%s: %w", path, errForeign)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	e, err := decode(key, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // where it fails, the file is dropped sooner
	return e, nil
}

// write puts a file in place as a whole: a reader sees all of it or none. It is not synced: what a power cut tears is
// found by its digest.
func (f *folder) write(key Key, e *Embedding) error {
	data, err := encode(key, e)
	if err != nil || int64(len(data)) > f.limit {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	if err := f.makeRoom(int64(len(data))); err != nil {
		return err
	}
	part, err := os.CreateTemp(f.dir, temporary) // mode 0600
	if err != nil {
		return err
	}
	_, err = part.Write(data)
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), f.path(key))
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return nil
}

// abandoned is the age from which an unfinished file is a killed process's.
const abandoned = time.Hour

// makeRoom removes the files that were not used for the longest time until size bytes more fit. It touches no file that
// is not the cache's own.
func (f *folder) makeRoom(size int64) error {
	list, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var files []os.FileInfo
	for _, d := range list {
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // another process removed it, or it is none of ours
		}
		switch name := d.Name(); {
		case strings.HasPrefix(name, temporary) && time.Since(info.ModTime()) > abandoned:
			_ = os.Remove(filepath.Join(f.dir, name))
		case strings.HasSuffix(name, suffix) && len(name) == 2*len(Key{})+len(suffix):
			files = append(files, info)
			size += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return cmp.Compare(a.ModTime().UnixNano(), b.ModTime().UnixNano()) })
	for _, info := range files {
		if size <= f.limit {
			break
		}
		if err := os.Remove(filepath.Join(f.dir, info.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		size -= info.Size()
	}
	return nil
}
