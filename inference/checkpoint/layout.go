package checkpoint

import (
	"math"
	"math/bits"
)

// maxRank is torch's own limit on the number of dimensions.
const maxRank = 64

// times multiplies two non-negative numbers; ok is false if the product does not fit.
func times(a, b int64) (p int64, ok bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	return int64(lo), a >= 0 && b >= 0 && hi == 0 && lo <= math.MaxInt64
}

// byteSize is the size of a dense tensor, 0 if a dimension is 0. ok is false for a negative dimension, a rank over
// maxRank, or a shape whose non-zero dimensions overflow: those too, so that code downstream may multiply any of
// the dimensions without a check of its own.
func byteSize(shape []int64, dtype DType) (n int64, ok bool) {
	n = dtype.Size()
	if len(shape) > maxRank {
		return 0, false
	}
	empty := false
	for _, d := range shape {
		if n, ok = times(n, max(d, 1)); d < 0 || !ok {
			return 0, false
		}
		empty = empty || d == 0
	}
	if empty {
		n = 0
	}
	return n, true
}

// rowMajor is the stride of a dense tensor, counted as torch counts it: a dimension of 0 counts as 1.
func rowMajor(shape []int64) []int64 {
	stride := make([]int64, len(shape))
	next := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		stride[i] = next
		next *= max(shape[i], 1)
	}
	return stride
}

// lastElement is the distance, in elements, from the first to the farthest element of a tensor that has some.
// ok is false for a negative stride or an overflow.
func lastElement(shape, stride []int64) (last int64, ok bool) {
	if len(shape) != len(stride) {
		return 0, false
	}
	for i, d := range shape {
		step, fits := times(d-1, stride[i])
		if !fits || step > math.MaxInt64-last {
			return 0, false
		}
		last += step
	}
	return last, true
}
