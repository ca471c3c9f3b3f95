package ort

import (
	"debug/elf"
	"errors"
	"io"
	"os"
)

// whole reports a library's file that was cut short, as by a copy that broke off. The loader maps such a file and reads pages that
// are not there, of which the process dies; what is no library at all it tells by itself.
func whole(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != elf.ELFMAG {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	cut := errors.New("cut short; fetch or copy it again")
	library, err := elf.NewFile(f) // reads the table of sections, which lies at the end
	if err != nil {
		return cut
	}
	for _, p := range library.Progs {
		if p.Type == elf.PT_LOAD && p.Off+p.Filesz > uint64(info.Size()) {
			return cut
		}
	}
	return nil
}
