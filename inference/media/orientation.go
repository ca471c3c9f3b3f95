package media

import (
	"bytes"
	"encoding/binary"

	"github.com/bep/imagemeta"
)

// orientation reads the EXIF orientation tag, 1 to 8; 1 (upright) where there is none or the metadata is damaged, for
// a picture is worth more than its metadata.
func orientation(data []byte, format imagemeta.ImageFormat) int {
	switch format {
	case imagemeta.ImageFormatAuto:
		return 1
	case imagemeta.WebP: // imagemeta v1.0.1 loses its way after a chunk of odd length
		data, format = webpChunk(data, "EXIF"), imagemeta.TIFF
		data = bytes.TrimPrefix(data, []byte("Exif\x00\x00")) // some writers copy it from JPEG
	}
	const tag = "Orientation"
	found := 1
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(data), ImageFormat: format, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool { return t.Namespace == "IFD0" && t.Tag == tag },
		HandleTag: func(t imagemeta.TagInfo) error {
			if v, ok := t.Value.(uint16); ok && v >= 1 && v <= 8 {
				found = int(v)
			}
			return imagemeta.ErrStopWalking
		},
	})
	if err != nil {
		return 1
	}
	return found
}

// webpChunk returns a chunk's data, or nil.
func webpChunk(data []byte, id string) []byte {
	for i := 12; i+8 <= len(data); {
		size := int(binary.LittleEndian.Uint32(data[i+4:]))
		body := data[i+8:]
		if size > len(body) {
			return nil
		}
		if string(data[i:i+4]) == id {
			return body[:size]
		}
		i += 8 + size + size%2 // chunks start at even offsets
	}
	return nil
}

// oriented turns the picture upright.
func (p *Picture) oriented(orientation int) *Picture {
	if orientation < 2 || orientation > 8 {
		return p
	}
	// The EXIF values are three independent switches on the way from an upright pixel to a stored one.
	swap := orientation >= 5                                                              // rows are columns
	flipX := orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8 // in upright x
	flipY := orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7
	q := &Picture{Width: p.Width, Height: p.Height, RGB: make([]uint8, len(p.RGB))}
	if swap {
		q.Width, q.Height = p.Height, p.Width
	}
	for y := range q.Height {
		for x := range q.Width {
			sx, sy := x, y
			if swap {
				sx, sy = y, x
			}
			if flipX {
				sx = p.Width - 1 - sx
			}
			if flipY {
				sy = p.Height - 1 - sy
			}
			copy(q.RGB[(y*q.Width+x)*3:][:3], p.RGB[(sy*p.Width+sx)*3:])
		}
	}
	return q
}
