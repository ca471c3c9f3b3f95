package media

import (
	"fmt"
	"image"
	"io"
	"os"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Picture is an 8-bit RGB picture without alpha.
type Picture struct {
	Width, Height int
	RGB           []uint8 // [Height, Width, 3]
}

// Limits bounds what DecodeImage accepts. Zero means the default.
type Limits struct {
	ImageBytes  int64 // size of the file; default 20 MB
	ImagePixels int64 // width x height, read from the header before anything is decoded; default 50 million
}

func (l Limits) orDefault() Limits {
	if l.ImageBytes <= 0 {
		l.ImageBytes = 20_000_000
	}
	if l.ImagePixels <= 0 {
		l.ImagePixels = 50_000_000
	}
	return l
}

func readRegular(path string, limit int64) ([]byte, error) {
	unreadable := fault.New("image_undecodable", imageField, "The image file cannot be read.")
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable.Because(err)
	}
	if !info.Mode().IsRegular() { // opening a pipe or a device could block for ever
		return nil, unreadable.Because(fmt.Errorf("%s is not a regular file", path))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable.Because(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, unreadable.Because(err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New("image_too_large", imageField,
			"The image file is larger than the limit of %.0f MB. Scale it down or save it with stronger compression.", float64(limit)/1e6)
	}
	return data, nil
}

func (l Limits) decodeImage(data []byte) (p *Picture, err error) {
	f, err := sniff(data)
	if err != nil {
		return nil, err
	}
	broken := fault.New("image_undecodable", imageField, "The %s image is damaged or uses a variant that cannot be read. Save it again as PNG or JPEG.", f.name)
	defer func() {
		if r := recover(); r != nil { // hostile bytes found a hole in a decoder: that is their problem, not the process's
			p, err = nil, broken.Because(fmt.Errorf("decoder panicked: %v", r))
		}
	}()
	c, err := f.config(data)
	if err != nil {
		return nil, broken.Because(err)
	}
	if c.Width <= 0 || c.Height <= 0 {
		return nil, broken.Because(fmt.Errorf("size is %dx%d", c.Width, c.Height))
	}
	if int64(c.Width)*int64(c.Height) > l.ImagePixels {
		return nil, fault.New("image_too_large", imageField, "The image has %dx%d pixels; the limit is %.1f million pixels in all. Scale it down.",
			c.Width, c.Height, float64(l.ImagePixels)/1e6)
	}
	p, err = f.decode(data, c)
	if err != nil {
		return nil, broken.Because(err)
	}
	return p.oriented(orientation(data, f.exif)), nil
}

func newPicture(size image.Point) *Picture {
	return &Picture{Width: size.X, Height: size.Y, RGB: make([]uint8, size.X*size.Y*3)}
}

// Image is the picture for the standard library's encoders.
func (p *Picture) Image() image.Image {
	out := image.NewRGBA(image.Rect(0, 0, p.Width, p.Height))
	for i := range p.Width * p.Height {
		copy(out.Pix[4*i:], p.RGB[3*i:3*i+3])
		out.Pix[4*i+3] = 0xff
	}
	return out
}

// row is the view of the picture's y-th row, 3*Width bytes.
func (p *Picture) row(y int) []uint8 { return p.RGB[y*p.Width*3:][:p.Width*3] }

const imageField = "images"
