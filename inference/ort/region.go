package ort

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// region is one mapped file, counted.
type region struct {
	id   fileID
	data []byte
	refs int // guarded by regionsMu
}

// fileID tells a file from another that was renamed to its path, and from itself before it grew.
type fileID struct {
	device, inode uint64
	size          int64
}

var (
	regions   = map[fileID]*region{}
	regionsMu sync.Mutex
)

func openRegion(path string) (*region, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // a mapping outlives its descriptor
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	id := fileID{uint64(st.Dev), st.Ino, st.Size} //nolint:unconvert // Dev is an int32 on macOS
	regionsMu.Lock()
	defer regionsMu.Unlock()
	if r := regions[id]; r != nil {
		r.refs++
		return r, nil
	}
	r := &region{id: id, refs: 1}
	if st.Size > 0 { // an empty file cannot be mapped
		if r.data, err = unix.Mmap(int(f.Fd()), 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED); err != nil {
			return nil, err
		}
	}
	regions[id] = r
	return r, nil
}

func (r *region) retain() {
	regionsMu.Lock()
	defer regionsMu.Unlock()
	r.refs++
}

func (r *region) release() error {
	regionsMu.Lock()
	defer regionsMu.Unlock()
	r.refs--
	if r.refs > 0 {
		return nil
	}
	delete(regions, r.id)
	if r.data == nil {
		return nil
	}
	return unix.Munmap(r.data)
}
