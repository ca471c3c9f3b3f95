package textcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
)

// A file is a magic word, the key, rows and width (uint32), the numbers (float32), and the SHA-256 of all that; little
// endian throughout.
const (
	magic   = "HUMOEMB1"
	header  = len(magic) + len(Key{}) + 8
	maxSide = 1 << 16
	maxFile = 256 << 20
)

var (
	errForeign = errors.New("is not a file of this cache")
	errDamaged = errors.New("is damaged")
	errTooBig  = errors.New("the embedding is too large to be kept in a file")
)

func encode(key Key, e *Embedding) ([]byte, error) {
	size := header + 4*len(e.Data) + sha256.Size
	if e.Rows < 1 || e.Dim < 1 || e.Rows > maxSide || e.Dim > maxSide || len(e.Data) != e.Rows*e.Dim || size > maxFile {
		return nil, errTooBig
	}
	b := make([]byte, 0, size)
	b = append(append(b, magic...), key[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(e.Rows))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.Dim))
	for _, v := range e.Data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

func decode(key Key, b []byte) (*Embedding, error) {
	if len(b) < header+sha256.Size || !bytes.HasPrefix(b, append([]byte(magic), key[:]...)) {
		return nil, errForeign
	}
	body := b[:len(b)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], b[len(body):]) {
		return nil, errDamaged
	}
	rows, dim := binary.LittleEndian.Uint32(body[header-8:]), binary.LittleEndian.Uint32(body[header-4:])
	values := body[header:]
	if rows < 1 || dim < 1 || rows > maxSide || dim > maxSide || int64(len(values)) != 4*int64(rows)*int64(dim) {
		return nil, errForeign
	}
	e := &Embedding{int(rows), int(dim), make([]float32, int(rows)*int(dim))}
	for i := range e.Data {
		e.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(values[4*i:]))
	}
	return e, nil
}
