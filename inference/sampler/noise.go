package sampler

import (
	"math"
	"math/bits"
)

// Noise returns the first n standard normal values of the seed's stream, as the package comment defines it.
func Noise(seed uint64, n int) []float32 {
	out := make([]float32, n)
	for i := 0; i < n; i += 2 {
		cosine, sine := boxMuller(block(seed, uint64(i)/2))
		out[i] = float32(cosine)
		if i+1 < n {
			out[i+1] = float32(sine)
		}
	}
	return out
}

// block is block j of the seed's stream.
func block(seed, j uint64) [4]uint32 {
	return philox4x32([2]uint32{uint32(seed), uint32(seed >> 32)}, [4]uint32{uint32(j), uint32(j >> 32)})
}

// philox4x32 is Philox4x32-10: ten rounds of two 32x32 -> 64 bit products, the key bumped by Weyl constants.
func philox4x32(key [2]uint32, counter [4]uint32) [4]uint32 {
	const (
		multiplier0, multiplier1 = 0xD2511F53, 0xCD9E8D57
		weyl0, weyl1             = 0x9E3779B9, 0xBB67AE85
		rounds                   = 10
	)
	c := counter
	for range rounds {
		high0, low0 := bits.Mul32(multiplier0, c[0])
		high1, low1 := bits.Mul32(multiplier1, c[2])
		c = [4]uint32{high1 ^ c[1] ^ key[0], low1, high0 ^ c[3] ^ key[1], low0}
		key[0] += weyl0
		key[1] += weyl1
	}
	return c
}

// boxMuller maps four random words to two independent standard normals.
func boxMuller(w [4]uint32) (cosine, sine float64) {
	radius := math.Sqrt(-2 * math.Log(openUniform(w[0], w[1])))
	sin, cos := math.Sincos(2 * math.Pi * openUniform(w[2], w[3]))
	return radius * cos, radius * sin
}

// openUniform keeps the upper 52 bits of high:low and adds half a step: 0 and 1 cannot occur, so the logarithm is
// finite, and 52 bits plus the half fill a float64's significand exactly.
func openUniform(low, high uint32) float64 {
	k := (uint64(high)<<32 | uint64(low)) >> 12
	return (float64(k) + 0.5) * 0x1p-52
}
