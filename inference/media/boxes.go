package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// whole checks that an mp4 file was written to its end: its boxes fill it exactly, and the ones that a player needs are
// there. An encoder that was stopped, or a disk that filled up, may end without an error.
func whole(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	found := map[string]bool{}
	for at := int64(0); at < info.Size(); {
		var head [16]byte
		n, err := f.ReadAt(head[:], at)
		if err != nil && !errors.Is(err, io.EOF) || n < 8 {
			return fmt.Errorf("a box at byte %d of %d is cut", at, info.Size())
		}
		size, least := int64(binary.BigEndian.Uint32(head[:])), int64(8)
		if size == 1 && n == len(head) {
			size, least = int64(binary.BigEndian.Uint64(head[8:])), int64(len(head))
		}
		if size < least || size > info.Size()-at {
			return fmt.Errorf("a box of %d bytes at byte %d of %d", size, at, info.Size())
		}
		found[string(head[4:8])] = true
		at += size
	}
	for _, name := range []string{"ftyp", "moov", "mdat"} {
		if !found[name] {
			return fmt.Errorf("the file of %d bytes has no %s", info.Size(), name)
		}
	}
	return nil
}
