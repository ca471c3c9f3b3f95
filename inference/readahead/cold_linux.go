package readahead

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Drop asks the system to forget a file's pages, so that the next reading is one of the disk. Pages that a process has
// mapped stay; Cached tells what came of it.
func Drop(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()                  //nolint:errcheck // only read from
	if err := f.Sync(); err != nil { // pages that are not on the disk yet cannot be dropped
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// Cached is how many bytes of a file the page cache holds.
func Cached(file string) (bytes int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // only read from
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Munmap(data) }()
	page := os.Getpagesize()
	held := make([]byte, (len(data)+page-1)/page)
	if _, _, code := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(&held[0]))); code != 0 {
		return 0, code
	}
	for _, h := range held {
		bytes += int64(h&1) * int64(page)
	}
	return min(bytes, info.Size()), nil
}
