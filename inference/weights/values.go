package weights

import "math"

// values says what a written tensor holds: mean + std·noise, plus a fixed structure where one is given. Everything is
// a function of the tensor's name and the element's row-major index, so any stretch can be made on its own, and it uses
// only operations whose results IEEE 754 fixes: the same bytes on every machine.
type values struct {
	mean, std float32
	tie       func(i int64) int64 // the noise's index; nil: i. Elements with equal results share their noise.
	add       func(i int64) float32
}

// around is mean + std·noise.
func around(mean, std float32) values { return values{mean: mean, std: std} }

// fanIn is noise that keeps the variance of a layer's input times gain²: std = gain/sqrt(inputs per output).
func fanIn(gain float64, shape ...int64) values {
	n := int64(1)
	for _, d := range shape[1:] {
		n *= d
	}
	return values{std: float32(gain / math.Sqrt(float64(n)))}
}

// plus returns v with add on top.
func (v values) plus(add func(i int64) float32) values {
	v.add = add
	return v
}

// fill writes the elements start, start+1, … of the tensor called name to dst.
func (v values) fill(name string, dst []float32, start int64) {
	seed := hash(name)
	std := float32(v.std * noiseUnit)
	switch {
	case v.std == 0:
		for i := range dst {
			dst[i] = v.mean
		}
	case v.tie == nil:
		for i := range dst {
			dst[i] = float32(noise(seed, start+int64(i))*std) + v.mean
		}
	default:
		for i := range dst {
			dst[i] = float32(noise(seed, v.tie(start+int64(i)))*std) + v.mean
		}
	}
	if v.add != nil {
		for i := range dst {
			dst[i] += v.add(start + int64(i))
		}
	}
}

// noiseUnit makes noise's variance 1: the sum of four uniform 16-bit numbers has variance (2^32-1)/3.
const noiseUnit = 1 / 37837.22745550

// noise is element i of a bell-shaped sequence in steps of noiseUnit: a sum of four uniforms, within ±3.5 deviations.
// The conversions around products here and above keep the compiler from fusing them with an addition, which some
// machines do and others do not.
func noise(seed uint64, i int64) float32 {
	z := mix(seed + uint64(i+1)*0x9e3779b97f4a7c15)
	s := z&0xffff + z>>16&0xffff + z>>32&0xffff + z>>48
	return float32(int32(s) - 2*0xffff)
}

// mix is the finalizer of SplitMix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// demoSeed was chosen by eye, for pictures with more than two colours.
const demoSeed = 2

// hash is FNV-1a, started from demoSeed, with a final mix.
func hash(s string) uint64 {
	h := uint64(0xcbf29ce484222325) + demoSeed
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}
