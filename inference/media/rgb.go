package media

import (
	"fmt"
	"image"
	"image/color"
)

// toRGB drops alpha and keeps the colour under it, as Pillow does. So it reads the samples themselves: Color.RGBA()
// would multiply them by alpha first. 16-bit samples keep their high byte.
func toRGB(m image.Image) (*Picture, error) {
	b := m.Bounds()
	p := newPicture(b.Size())
	for y := range p.Height {
		dst := p.row(y)
		switch m := m.(type) {
		case *image.Gray:
			spread(dst, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):], 1, 0, 0, 0)
		case *image.Gray16:
			spread(dst, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):], 2, 0, 0, 0)
		case *image.NRGBA:
			spread(dst, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):], 4, 0, 1, 2)
		case *image.RGBA: // the decoders use it for opaque pictures only
			spread(dst, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):], 4, 0, 1, 2)
		case *image.NRGBA64:
			spread(dst, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):], 8, 0, 2, 4)
		case *image.RGBA64: // opaque, too
			spread(dst, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):], 8, 0, 2, 4)
		case *image.CMYK:
			cmykRow(dst, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):])
		case *image.Paletted:
			palettedRow(dst, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):], paletteRGB(m.Palette))
		default:
			return nil, fmt.Errorf("%w %T", errColourModel, m)
		}
	}
	return p, nil
}

// spread copies the bytes r, g and b of every size-byte pixel.
func spread(dst, src []uint8, size, r, g, b int) {
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+size {
		dst[i], dst[i+1], dst[i+2] = src[j+r], src[j+g], src[j+b]
	}
}

// cmykRow is Pillow's naive conversion: (1-K) * (1-C), in 8 bits with its rounding.
func cmykRow(dst, src []uint8) {
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+4 {
		white := 255 - int(src[j+3])
		for c := range 3 {
			t := int(src[j+c])*white + 128
			dst[i+c] = clamp8(white - ((t>>8)+t)>>8)
		}
	}
}

func palettedRow(dst, src []uint8, palette *[256][3]uint8) {
	for i, j := 0, 0; i < len(dst); i, j = i+3, j+1 {
		copy(dst[i:i+3], palette[src[j]][:])
	}
}

func paletteRGB(p color.Palette) *[256][3]uint8 {
	var t [256][3]uint8 // an index beyond the palette is black
	for i, c := range p[:min(len(p), 256)] {
		switch c := c.(type) {
		case color.NRGBA:
			t[i] = [3]uint8{c.R, c.G, c.B}
		case color.RGBA:
			t[i] = [3]uint8{c.R, c.G, c.B}
		default:
			r, g, b, _ := c.RGBA()
			t[i] = [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}
		}
	}
	return &t
}

func clamp8(v int) uint8 { return uint8(min(max(v, 0), 255)) }
