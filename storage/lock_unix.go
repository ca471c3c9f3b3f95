//go:build unix

package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

var (
	errNoSync    = unix.EINVAL
	errNotFolder = unix.ENOTDIR // a key below another object
)

// lock takes the file's advisory lock without waiting and fails when another open file holds it. The lock ends with
// the process. Where the file system knows no locks it does nothing: results are still whole, but a killed process's
// partial files may be swept while another one writes, which that one then reports.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}
