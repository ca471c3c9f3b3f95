package media

import "image"

// webpToRGB turns decoded VP8 planes, which are limited-range 4:2:0, into RGB with libwebp's upsampler and its fixed
// point conversion; bit-equal to libwebp. The image package would take the planes for full range.
func webpToRGB(m *image.YCbCr) *Picture {
	p := newPicture(m.Rect.Size())
	width, height := (p.Width+1)/2, (p.Height+1)/2
	for y := range p.Height {
		near, far := y/2, min(max(y/2-1+y%2*2, 0), height-1)
		row := func(plane []uint8) halves {
			return halves{near: plane[near*m.CStride:][:width], far: plane[far*m.CStride:][:width]}
		}
		us, vs := row(m.Cb), row(m.Cr)
		luma, dst := m.Y[y*m.YStride:], p.row(y)
		for x := range p.Width {
			y, u, v := int(luma[x]), us.at(x), vs.at(x)
			dst[3*x] = vp8Clip(mulHi(y, 19077) + mulHi(v, 26149) - 14234)
			dst[3*x+1] = vp8Clip(mulHi(y, 19077) - mulHi(u, 6419) - mulHi(v, 13320) + 8708)
			dst[3*x+2] = vp8Clip(mulHi(y, 19077) + mulHi(u, 33050) - 17685)
		}
	}
	return p
}

// halves are the two chroma rows around a pixel row.
type halves struct{ near, far []uint8 }

// at weighs the four samples around pixel x as 9:3:3:1, in libwebp's two halving steps.
func (h halves) at(x int) int {
	i, next := x/2, x/2-1+x%2*2
	if next < 0 || next >= len(h.near) {
		return (3*int(h.near[i]) + int(h.far[i]) + 2) >> 2
	}
	a, b, c, d := int(h.near[i]), int(h.near[next]), int(h.far[i]), int(h.far[next])
	diagonal := (a + b + c + d + 8 + 2*(b+c)) >> 3
	return (diagonal + a) >> 1
}

func mulHi(v, factor int) int { return v * factor >> 8 }

func vp8Clip(v int) uint8 { return clamp8(v >> 6) }
