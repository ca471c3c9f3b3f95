package ort

import (
	"math"
	"slices"
	"sync"
	"unsafe"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Conversion between the three float types of checkpoints: to the nearest number, to the even one between two (IEEE 754),
// subnormal numbers kept, NaN to a quiet NaN, infinities to infinities.

// convertible reports whether a weight stored as from can be uploaded as to.
func convertible(from, to checkpoint.DType) bool {
	floats := []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16}
	return from == to || slices.Contains(floats, from) && slices.Contains(floats, to)
}

// convert fills dst with the elements of src in another type. It reports the first finite number that to turns into an
// infinity, and the caller refuses the weight: a network with infinite weights makes only noise.
func convert(dst []byte, to checkpoint.DType, src []byte, from checkpoint.DType) (overflow float32, ok bool) {
	if from == to {
		copy(dst, src)
		return 0, true
	}
	switch from {
	case checkpoint.F32:
		if to == checkpoint.F16 {
			return narrow(elements[uint16](dst), elements[float32](src), toHalf, halfInfinity)
		}
		return narrow(elements[uint16](dst), elements[float32](src), toBrain, brainInfinity)
	case checkpoint.F16:
		if to == checkpoint.F32 {
			return look(elements[uint32](dst), elements[uint16](src), halfToSingle(), func(int) bool { return false })
		}
		return look(elements[uint16](dst), elements[uint16](src), halfToBrain(), func(int) bool { return false })
	case checkpoint.BF16:
		if to == checkpoint.F32 {
			out := elements[uint32](dst)
			for i, x := range elements[uint16](src) {
				out[i] = uint32(x) << 16
			}
			return 0, true
		}
		in, out := elements[uint16](src), elements[uint16](dst)
		overflow, ok = look(out, in, brainToHalf(), func(i int) bool {
			return out[i]&^signBit == halfInfinity && in[i]&^signBit != brainInfinity
		})
		return overflow, ok
	}
	return 0, true // convertible has been asked
}

const (
	signBit       = 0x8000
	halfInfinity  = 0x7c00
	brainInfinity = 0x7f80
)

func narrow(dst []uint16, src []float32, round func(uint32) uint16, infinity uint16) (overflow float32, ok bool) {
	for i, x := range src {
		y := round(math.Float32bits(x))
		dst[i] = y
		if y&^signBit == infinity && !math.IsInf(float64(x), 0) {
			return x, false
		}
	}
	return 0, true
}

// look converts 16 bits by table.
func look[T uint16 | uint32](dst []T, src []uint16, table []T, overflows func(i int) bool) (overflow float32, ok bool) {
	for i, x := range src {
		dst[i] = table[x]
	}
	for i := range src {
		if overflows(i) {
			return math.Float32frombits(uint32(src[i]) << 16), false
		}
	}
	return 0, true
}

// toBrain rounds the bits of a float32 to bfloat16's, which are their upper half.
func toBrain(x uint32) uint16 {
	if x&0x7fffffff > 0x7f800000 {
		return uint16(x>>16) | 0x40 // a NaN whose payload was in the lower half must not become an infinity
	}
	return uint16((x + 0x7fff + x>>16&1) >> 16)
}

// toHalf rounds the bits of a float32 to fp16's: 5 bits of exponent, 10 of fraction.
func toHalf(x uint32) uint16 {
	sign, size := uint16(x>>16&signBit), x&0x7fffffff
	const bias = 127 - 15
	switch {
	case size > 0x7f800000: // NaN
		return sign | 0x7e00
	case size >= 0x477ff000: // 65520 and more round to infinity
		return sign | halfInfinity
	case size >= (bias+1)<<23: // normal; a carry out of the fraction raises the exponent, as it should
		return sign | uint16((size+0xfff+size>>13&1-bias<<23)>>13)
	case size < 0x33000000: // below half of the smallest number
		return sign
	}
	// A subnormal counts units of 2^-24: the fraction with its leading one, shifted to there.
	shift := 126 - size>>23
	fraction := size&0x7fffff | 0x800000
	half, rest := fraction>>shift, fraction&(1<<shift-1)
	if middle := uint32(1) << (shift - 1); rest > middle || rest == middle && half&1 == 1 {
		half++
	}
	return sign | uint16(half)
}

// fromHalf widens the bits of an fp16.
func fromHalf(x uint16) uint32 {
	sign, exponent, fraction := uint32(x&signBit)<<16, uint32(x>>10&0x1f), uint32(x&0x3ff)
	switch exponent {
	case 0x1f:
		if fraction != 0 {
			fraction |= 0x200 // quiet
		}
		return sign | 0x7f800000 | fraction<<13
	case 0:
		return sign | math.Float32bits(float32(fraction)/(1<<24))
	}
	return sign | (exponent+112)<<23 | fraction<<13
}

// The tables of all 65,536 numbers, made at their first use.
var (
	halfToSingle = table(fromHalf)
	halfToBrain  = table(func(x uint16) uint16 { return toBrain(fromHalf(x)) })
	brainToHalf  = table(func(x uint16) uint16 { return toHalf(uint32(x) << 16) })
)

func table[T uint16 | uint32](of func(uint16) T) func() []T {
	return sync.OnceValue(func() []T {
		list := make([]T, 1<<16)
		for i := range list {
			list[i] = of(uint16(i))
		}
		return list
	})
}

// gather copies the elements lo…hi of a strided tensor, in row-major order, out of data, in which it begins at 0.
func gather(dst, data []byte, t *checkpoint.Tensor, lo, hi int64) {
	size, rank := t.DType.Size(), len(t.Shape)
	index, at, rest := make([]int64, rank), int64(0), lo
	for i := rank - 1; i >= 0; i-- {
		index[i] = rest % t.Shape[i]
		rest /= t.Shape[i]
		at += index[i] * t.Stride[i]
	}
	for n := range hi - lo {
		copy(dst[n*size:(n+1)*size], data[at*size:])
		for i := rank - 1; i >= 0; i-- {
			index[i]++
			at += t.Stride[i]
			if index[i] < t.Shape[i] {
				break
			}
			at -= index[i] * t.Stride[i]
			index[i] = 0
		}
	}
}

func tooLarge(t *checkpoint.Tensor, x float32, to checkpoint.DType) error {
	return fault.New("weight_overflow", t.Name, "the weight holds %g, which %s cannot; set HUMO_DTYPE to bf16 or fp32", x, to)
}

// elements views bytes, of any alignment, as numbers.
func elements[T uint16 | uint32 | float32](data []byte) []T {
	if len(data) == 0 {
		return nil
	}
	var one T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/int(unsafe.Sizeof(one)))
}
