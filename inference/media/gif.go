package media

import (
	"bytes"
	"errors"
	"image"
	"image/gif"
	"slices"
)

// decodeGIF gives the first frame on the file's whole canvas. Pixels outside the frame, and transparent ones, get the
// colour that the palette has at the transparent index (0 if there is none): alpha is dropped here as everywhere.
func decodeGIF(data []byte, c image.Config) (*Picture, error) {
	opaque, transparent := withoutTransparency(data)
	m, err := gif.Decode(bytes.NewReader(opaque))
	if err != nil {
		return nil, err
	}
	frame, ok := m.(*image.Paletted)
	if !ok {
		return nil, errColourModel
	}
	canvas := image.NewPaletted(image.Rect(0, 0, c.Width, c.Height), frame.Palette)
	if !frame.Rect.In(canvas.Rect) {
		return nil, errors.New("first frame lies outside the canvas")
	}
	for i := range canvas.Pix {
		canvas.Pix[i] = transparent
	}
	for y := frame.Rect.Min.Y; y < frame.Rect.Max.Y; y++ {
		copy(canvas.Pix[canvas.PixOffset(frame.Rect.Min.X, y):], frame.Pix[frame.PixOffset(frame.Rect.Min.X, y):][:frame.Rect.Dx()])
	}
	return toRGB(canvas)
}

// withoutTransparency clears the transparency flag of the graphic control extension before the first frame, because
// the decoder would replace the transparent entry's colour. It returns the data unchanged where it is not a GIF.
func withoutTransparency(data []byte) (opaque []byte, transparent uint8) {
	const extension, control, hasTransparency = 0x21, 0xf9, 1
	if len(data) < 13 {
		return data, 0
	}
	i := 13
	if flags := data[10]; flags&0x80 != 0 {
		i += 3 << (flags&7 + 1)
	}
	for i+1 < len(data) && data[i] == extension {
		label := data[i+1]
		i += 2
		if label == control && i+5 < len(data) && data[i] == 4 && data[i+1]&hasTransparency != 0 {
			opaque = slices.Clone(data)
			opaque[i+1] &^= hasTransparency
			return opaque, data[i+4]
		}
		for i < len(data) && data[i] != 0 { // sub-blocks, each with its length in front
			i += int(data[i]) + 1
		}
		i++
	}
	return data, 0
}
