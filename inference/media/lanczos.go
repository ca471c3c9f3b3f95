package media

import "math"

// resize is Pillow's resize(LANCZOS) for 8-bit RGB, bit for bit: weights rounded to 22 fractional bits, first along x
// into 8 bits, then along y. An axis that keeps its size is left alone.
func (p *Picture) resize(width, height int) *Picture {
	if width != p.Width {
		p = p.resizeX(width)
	}
	if height != p.Height {
		p = p.resizeY(height)
	}
	return p
}

func (p *Picture) resizeX(width int) *Picture {
	q := &Picture{Width: width, Height: p.Height, RGB: make([]uint8, width*p.Height*3)}
	taps := lanczosTaps(p.Width, width)
	for y := range p.Height {
		src, dst := p.row(y), q.row(y)
		for x, t := range taps {
			r, g, b := int32(half), int32(half), int32(half)
			window := src[3*t.first:][:3*len(t.weights)]
			for i, w := range t.weights {
				s := window[3*i : 3*i+3 : 3*i+3]
				r += int32(s[0]) * w
				g += int32(s[1]) * w
				b += int32(s[2]) * w
			}
			dst[3*x], dst[3*x+1], dst[3*x+2] = toByte(r), toByte(g), toByte(b)
		}
	}
	return q
}

func (p *Picture) resizeY(height int) *Picture {
	q := &Picture{Width: p.Width, Height: height, RGB: make([]uint8, p.Width*height*3)}
	sum := make([]int32, 3*p.Width)
	for y, t := range lanczosTaps(p.Height, height) {
		for x := range sum {
			sum[x] = half
		}
		for i, w := range t.weights {
			for x, v := range p.row(t.first + i) {
				sum[x] += int32(v) * w
			}
		}
		dst := q.row(y)
		for x, s := range sum {
			dst[x] = toByte(s)
		}
	}
	return q
}

// Weights have 22 fractional bits: 8 bits of sample and 2 of overshoot fill the rest of an int32.
const (
	fraction = 32 - 8 - 2
	half     = 1 << (fraction - 1)
)

func toByte(v int32) uint8 { return uint8(min(max(v>>fraction, 0), 255)) }

// taps are the input samples, from first on, that make one output sample.
type taps struct {
	first   int
	weights []int32
}

func lanczosTaps(in, out int) []taps {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1) // when shrinking, the kernel covers as many more samples
	support := 3 * stretch
	all := make([]taps, out)
	var exact []float64
	for i := range all {
		centre := float64((float64(i) + 0.5) * scale) // the conversion forbids a fused multiply-add on other machines
		first := max(int(centre-support+0.5), 0)
		last := min(int(centre+support+0.5), in)
		exact = exact[:0]
		sum := 0.0
		for j := first; j < last; j++ {
			w := float64(lanczos3((float64(j) - centre + 0.5) * (1 / stretch)))
			exact = append(exact, w)
			sum += w
		}
		weights := make([]int32, len(exact))
		for j, w := range exact {
			if sum != 0 {
				w /= sum
			}
			weights[j] = int32(math.Copysign(0.5, w) + w*(1<<fraction)) // rounds half away from zero
		}
		all[i] = taps{first, weights}
	}
	return all
}

func lanczos3(x float64) float64 {
	if x < -3 || x >= 3 {
		return 0
	}
	return sinc(x) * sinc(x/3)
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}
