package checkpoint

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"unicode/utf8"
)

// literal reads a constant: None, a bool, a number or a string.
func (u *unpickler) literal(op byte) (any, error) {
	switch op {
	case opNone:
		return nil, nil
	case opNewTrue, opNewFalse:
		return op == opNewTrue, nil
	case opBinInt1:
		n, err := u.length(1)
		return int64(n), err
	case opBinInt2:
		n, err := u.length(2)
		return int64(n), err
	case opBinInt:
		n, err := u.length(4)
		return int64(int32(n)), err
	case opBinFloat:
		b, err := u.src.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case opLong1:
		b, err := u.counted(1)
		return longInt(b), err
	case opShortUnicode:
		return u.text(1)
	case opBinUnicode:
		return u.text(4)
	case opBinUnicode8:
		return u.text(8)
	}
	return nil, malformed("the pickle has the instruction 0x%02x at byte %d, which a checkpoint does not need", op, u.src.pos-1)
}

// length reads a little-endian number of n bytes.
func (u *unpickler) length(n int) (uint64, error) {
	var b [8]byte
	part, err := u.src.take(uint64(n))
	copy(b[:], part)
	return binary.LittleEndian.Uint64(b[:]), err
}

// counted reads bytes that follow their number, itself a number of n bytes.
func (u *unpickler) counted(n int) ([]byte, error) {
	length, err := u.length(n)
	if err != nil {
		return nil, err
	}
	return u.src.take(length)
}

func (u *unpickler) text(n int) (any, error) {
	b, err := u.counted(n)
	if err == nil && !utf8.Valid(b) {
		err = malformed("the pickle has a string that is not UTF-8")
	}
	return string(b), err
}

// longInt decodes a little-endian two's complement number into an int64, or a *big.Int if it needs more.
func longInt(b []byte) any {
	digits := slices.Clone(b)
	slices.Reverse(digits)
	n := new(big.Int).SetBytes(digits)
	if len(b) > 0 && b[len(b)-1]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}
