package checkpoint

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// file is an open regular file: what every format is read from. Tests read from memory instead.
type file struct {
	io.ReaderAt
	size int64
	path string // absolute, symbolic links resolved
}

// openFile opens a regular file. Anything else is refused before it is opened, since opening a pipe would wait for
// its writer.
func openFile(path string) (*file, func(), error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return nil, nil, notOpened(path, err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, nil, notOpened(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fault.New(CodeMalformed, path, "is not a regular file; name the checkpoint file itself")
	}
	f, err := os.Open(real)
	if err != nil {
		return nil, nil, notOpened(path, err)
	}
	// Nothing is written, so closing cannot lose anything.
	return &file{ReaderAt: f, size: info.Size(), path: real}, func() { _ = f.Close() }, nil
}

func notOpened(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(CodeMissing, path, "does not exist; fetch it or correct the path").Because(err)
	}
	return fault.New(CodeUnreadable, path, "cannot be opened; check its permissions and the disk").Because(err).Again()
}

// bytesAt reads n bytes; they are allocated only if the file has them.
func (f *file) bytesAt(offset, n int64, what string) ([]byte, error) {
	if offset < 0 || n < 0 || offset > f.size || n > f.size-offset {
		return nil, truncated("%s needs %d bytes at %d, but the file has %d", what, n, offset, f.size)
	}
	b := make([]byte, n)
	if read, err := f.ReadAt(b, offset); int64(read) < n { // ReadAt may report EOF with a full read
		return nil, unread(what, err)
	}
	return b, nil
}
