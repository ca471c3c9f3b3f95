package media

import "image"

// jpegToRGB turns decoded JPEG planes into RGB as libjpeg does: chroma is interpolated ("fancy upsampling"), not
// repeated, and colours are converted in 16-bit fixed point. The standard library repeats chroma, which is wrong by up
// to 154 of 255 at coloured edges.
func jpegToRGB(m *image.YCbCr) *Picture {
	p := newPicture(m.Rect.Size())
	h, v := subsampling(m.SubsampleRatio)
	cb := chroma{plane: m.Cb, stride: m.CStride, width: (p.Width + h - 1) / h, height: (p.Height + v - 1) / v, h: h, v: v}
	cr := cb
	cr.plane = m.Cr
	cb.sum, cr.sum = make([]int, cb.width), make([]int, cr.width)
	b, r := make([]uint8, p.Width), make([]uint8, p.Width)
	for y := range p.Height {
		cb.row(b, y)
		cr.row(r, y)
		luma, dst := m.Y[y*m.YStride:], p.row(y)
		for x := range p.Width {
			y, b, r := int(luma[x]), int(b[x])-128, int(r[x])-128
			dst[3*x] = clamp8(y + (crToR*r+half16)>>16)
			dst[3*x+1] = clamp8(y + (-cbToG*b-crToG*r+half16)>>16)
			dst[3*x+2] = clamp8(y + (cbToB*b+half16)>>16)
		}
	}
	return p
}

// The JFIF conversion's factors 1.402, 0.34414, 0.71414 and 1.772, times 2^16.
const (
	crToR, cbToG, crToG, cbToB = 91881, 22554, 46802, 116130
	half16                     = 1 << 15
)

func subsampling(r image.YCbCrSubsampleRatio) (h, v int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

// chroma is one subsampled plane; width and height count its own samples, h and v the pixels that share one.
type chroma struct {
	plane                 []uint8
	stride, width, height int
	h, v                  int
	sum                   []int // scratch: one row after the vertical step, times 4
}

// row interpolates the chroma of pixel row y into dst: libjpeg-turbo's jdsample.c.
func (c *chroma) row(dst []uint8, y int) {
	near := c.line(y / c.v)
	switch {
	case c.h == 2 && c.v == 1 && c.width > 2:
		for x := range dst {
			i, next, bias := neighbour(x, 1, 2)
			if next < 0 || next >= c.width {
				dst[x] = near[i]
			} else {
				dst[x] = uint8((3*int(near[i]) + int(near[next]) + bias) >> 2)
			}
		}
	case c.h == 2 && c.v == 2 && c.width > 2:
		far := c.line(c.farRow(y))
		for i := range c.sum {
			c.sum[i] = 3*int(near[i]) + int(far[i])
		}
		for x := range dst {
			i, next, bias := neighbour(x, 8, 7)
			if next < 0 || next >= c.width {
				next = i
			}
			dst[x] = uint8((3*c.sum[i] + c.sum[next] + bias) >> 4)
		}
	case c.h == 1 && c.v == 2:
		far, bias := c.line(c.farRow(y)), 1+y%2
		for x := range dst {
			dst[x] = uint8((3*int(near[x]) + int(far[x]) + bias) >> 2)
		}
	default: // libjpeg repeats the sample for all other ratios and for very narrow planes
		for x := range dst {
			dst[x] = near[x/c.h]
		}
	}
}

// neighbour gives the sample that pixel x lies in, the next nearest one, and the rounding bias, which alternates so
// that the errors do not add up to a tint.
func neighbour(x, even, odd int) (i, next, bias int) {
	if x%2 == 0 {
		return x / 2, x/2 - 1, even
	}
	return x / 2, x/2 + 1, odd
}

// farRow is the second nearest chroma row of pixel row y; the outermost rows are their own neighbours.
func (c *chroma) farRow(y int) int {
	return min(max(y/2-1+y%2*2, 0), c.height-1)
}

func (c *chroma) line(i int) []uint8 { return c.plane[i*c.stride:][:c.width] }
