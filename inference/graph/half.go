package graph

import "math"

// float16Bits rounds x to the nearest IEEE half, ties to even; what is too large becomes infinite.
func float16Bits(x float32) uint16 {
	sign := uint16(math.Float32bits(x)>>16) & 0x8000
	a := math.Abs(float64(x))
	switch {
	case math.IsNaN(a):
		return sign | 0x7e00
	case a >= 65520: // half a step beyond the largest
		return sign | 0x7c00
	case a < 0x1p-14: // subnormal: multiples of 2⁻²⁴
		return sign | uint16(math.RoundToEven(a*0x1p24))
	}
	fraction, exponent := math.Frexp(a) // fraction in [0.5, 1)
	return sign | uint16((exponent+13)<<10+int(math.RoundToEven(fraction*0x1p11)))
}

// bfloat16Bits rounds x to the nearest bfloat16, ties to even.
func bfloat16Bits(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x { // adding could carry a NaN into an infinity
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
