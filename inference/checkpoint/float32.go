package checkpoint

import (
	"encoding/binary"
	"math"
)

// Float32 reads the tensor as Raw does and converts its elements: F16, BF16, small integers and booleans exactly,
// F64 and large integers rounded to nearest.
func (t *Tensor) Float32() ([]float32, error) {
	raw, err := t.Raw()
	if err != nil {
		return nil, err
	}
	return widen(raw, t.DType), nil
}

func widen(raw []byte, dtype DType) []float32 {
	le := binary.LittleEndian
	out := make([]float32, int64(len(raw))/dtype.Size())
	switch dtype {
	case F32:
		for i := range out {
			out[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
		}
	case BF16: // the upper half of a float32
		for i := range out {
			out[i] = math.Float32frombits(uint32(le.Uint16(raw[2*i:])) << 16)
		}
	case F16:
		for i := range out {
			out[i] = half(le.Uint16(raw[2*i:]))
		}
	case F64:
		for i := range out {
			out[i] = float32(math.Float64frombits(le.Uint64(raw[8*i:])))
		}
	case I64:
		for i := range out {
			out[i] = float32(int64(le.Uint64(raw[8*i:])))
		}
	case I32:
		for i := range out {
			out[i] = float32(int32(le.Uint32(raw[4*i:])))
		}
	case I16:
		for i := range out {
			out[i] = float32(int16(le.Uint16(raw[2*i:])))
		}
	case I8:
		for i := range out {
			out[i] = float32(int8(raw[i]))
		}
	case U8:
		for i := range out {
			out[i] = float32(raw[i])
		}
	case Bool:
		for i := range out {
			if raw[i] != 0 {
				out[i] = 1
			}
		}
	}
	return out
}

// half widens an IEEE 754 binary16.
func half(h uint16) float32 {
	sign, exponent, mantissa := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero and the subnormals, multiples of 2^-24
		f := float32(mantissa) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f: // infinities and NaNs
		return math.Float32frombits(sign | 0xff<<23 | mantissa<<13)
	default: // the exponent's bias changes from 15 to 127
		return math.Float32frombits(sign | (exponent+112)<<23 | mantissa<<13)
	}
}
