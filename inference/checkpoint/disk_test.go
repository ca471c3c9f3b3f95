package checkpoint

import (
	"errors"
	"io"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// failing is a disk that gives up after some reads.
type failing struct {
	io.ReaderAt
	left int
}

var errDisk = errors.New("input/output error")

func (f *failing) ReadAt(p []byte, offset int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(p, offset)
}

// Whichever read fails, the fault blames the disk and not the file, and says that trying again may help.
func TestDiskErrors(t *testing.T) {
	for name, b := range map[string][]byte{
		"safetensors": shard("a"),
		"index":       weightMap("a", "one"),
		"zip":         torchZip(pickleOf(pyDict("w", floats("0", 2))), "0", twoFloats),
		"legacy":      torchLegacy(pickleOf(pyDict("w", floats("0", 2))), 4, "0", twoFloats),
	} {
		reads := 0
		for ; reads < 100; reads++ {
			f := inMemory(b)
			f.ReaderAt = &failing{f.ReaderAt, reads}
			_, err := openIndex(f, "/nowhere/memory")
			if err == nil || fault.CodeOf(err) == CodeMissing { // the index looks for its shards, so it was read
				break
			}
			var e *fault.Error
			if !errors.As(err, &e) || e.Code != CodeUnreadable || !e.Retryable || !errors.Is(err, errDisk) {
				t.Errorf("%s: read %d failed with %v", name, reads, err)
			}
		}
		if reads < 2 || reads == 100 {
			t.Errorf("%s: opened after %d reads", name, reads)
		}
	}
}

// A zip directory is read into memory, so a large one is refused even if the file is larger still.
func TestLargeZipDirectory(t *testing.T) {
	const entries, comment = 1100, 1<<16 - 1
	s := &sparse{}
	s.add("PK\x03\x04", 0)
	for range entries {
		s.add("PK\x01\x02"+le(45, 2)+le(45, 2)+le(0, 8)+le(0, 8)+le(0, 4)+le(0, 4)+le(comment, 2)+le(0, 8)+le(0, 4), comment)
	}
	s.add("PK\x05\x06"+le(0, 4)+le(entries, 2)+le(entries, 2)+le(uint64(s.size)-4, 4)+le(4, 4)+le(0, 2), 0)
	_, err := openIndex(&file{ReaderAt: s, size: s.size, path: "/memory"}, "/memory")
	wantFault(t, err, CodeMalformed, "more than 67108864 bytes")
}
