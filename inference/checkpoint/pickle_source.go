package checkpoint

import (
	"bufio"
	"errors"
	"io"
)

// maxPickle bounds the bytes that all pickles of a file may take together. A checkpoint of 1,600 tensors needs 0.2 MB.
const maxPickle = 8 << 20

// pickleSource hands out the bytes of one or several consecutive pickles. It buffers a few kB, so that the tensor
// data behind a legacy file's pickles stays unread, and it allocates no more than what the file still has.
type pickleSource struct {
	r        *bufio.Reader
	pos, end int64
	capped   bool // end is maxPickle's doing, not the file's
}

func newPickleSource(r io.ReaderAt, offset, length int64) *pickleSource {
	s := &pickleSource{pos: offset, end: offset + length}
	if length > maxPickle {
		s.end, s.capped = offset+maxPickle, true
	}
	s.r = bufio.NewReaderSize(io.NewSectionReader(r, offset, s.end-offset), 16<<10)
	return s
}

func (s *pickleSource) byte() (byte, error) {
	b, err := s.r.ReadByte()
	if err != nil {
		return 0, s.failed(err)
	}
	s.pos++
	return b, nil
}

// take returns the next n bytes as a slice of their own.
func (s *pickleSource) take(n uint64) ([]byte, error) {
	if n > uint64(s.end-s.pos) {
		return nil, s.failed(io.EOF)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(s.r, b); err != nil {
		return nil, s.failed(err)
	}
	s.pos += int64(n)
	return b, nil
}

// line returns the text before the next line feed; it must fit the buffer.
func (s *pickleSource) line() (string, error) {
	b, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", malformed("the pickle has a name of more than %d bytes", len(b))
	}
	if err != nil {
		return "", s.failed(err)
	}
	s.pos += int64(len(b))
	return string(b[:len(b)-1]), nil
}

func (s *pickleSource) failed(err error) error {
	if s.capped && errors.Is(err, io.EOF) {
		return malformed("the pickle takes more than %d bytes", maxPickle)
	}
	return unread("the pickle", err)
}
