//go:build long

package media

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"testing"
)

// The largest pictures that are taken, of the kind that costs most memory, stay below the decoder's limit.
func TestLargestPicture(t *testing.T) {
	p, err := DecodeImage(t.Context(), write(t, "large.png", blackPNG(t, 7000, 7000)))
	if err != nil || p.Width != 7000 || p.Height != 7000 {
		t.Fatal(err)
	}
}

// blackPNG compresses well: 49 million 16-bit RGBA pixels are 400 MB when they are decoded.
func blackPNG(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, black{width, height}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type black struct{ width, height int }

func (black) ColorModel() color.Model   { return color.NRGBA64Model }
func (b black) Bounds() image.Rectangle { return image.Rect(0, 0, b.width, b.height) }
func (black) At(int, int) color.Color   { return color.NRGBA64{A: 0x8000} }
