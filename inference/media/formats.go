package media

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/bep/imagemeta"
	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// format is a picture format that can be read.
type format struct {
	name   string
	magic  func(data []byte) bool
	config func(data []byte) (image.Config, error) // the size, from the header alone
	decode func(data []byte, c image.Config) (*Picture, error)
	exif   imagemeta.ImageFormat // Auto: the format carries no EXIF
}

var formats = []format{
	{"JPEG", prefix("\xff\xd8\xff"), jpegConfig, decodeJPEG, imagemeta.JPEG},
	{"PNG", prefix("\x89PNG\r\n\x1a\n"), header(png.DecodeConfig), plain(png.Decode), imagemeta.PNG},
	{"WebP", isWebP, header(webp.DecodeConfig), decodeWebP, imagemeta.WebP},
	{"GIF", prefix("GIF8"), header(gif.DecodeConfig), decodeGIF, imagemeta.ImageFormatAuto},
	{"BMP", prefix("BM"), header(bmp.DecodeConfig), plain(bmp.Decode), imagemeta.ImageFormatAuto},
}

// refused are formats that people do send and that deserve their own name in the error.
var refused = []struct {
	name  string
	magic func(data []byte) bool
}{
	{"an AVIF", brand("avif", "avis")},
	{"a HEIC", brand("heic", "heix", "hevc", "hevx", "heim", "heis", "mif1", "msf1")},
	{"a TIFF", prefix("II*\x00")},
	{"a TIFF", prefix("MM\x00*")},
	{"a JPEG XL", prefix("\xff\x0a")},
	{"a JPEG XL", prefix("\x00\x00\x00\x0cJXL ")},
	{"a PDF", prefix("%PDF")},
	{"an SVG", prefix("<svg")},
	{"an SVG", prefix("<?xml")},
}

// sniff tells the format by the first bytes; a file's name and a sender's content type may say anything.
func sniff(data []byte) (*format, error) {
	const cure = "Send a JPEG, PNG, WebP, GIF or BMP file."
	if isWebP(data) && animatedWebP(data) {
		return nil, fault.New("image_unsupported", imageField, "The image is an animated WebP, which is not supported. Send one of its frames as a JPEG, PNG or WebP file.")
	}
	for i := range formats {
		if formats[i].magic(data) {
			return &formats[i], nil
		}
	}
	for _, r := range refused {
		if r.magic(data) {
			return nil, fault.New("image_unsupported", imageField, "The image is %s file, which is not supported. %s", r.name, cure)
		}
	}
	if len(data) == 0 {
		return nil, fault.New("image_undecodable", imageField, "The image file is empty.")
	}
	return nil, fault.New("image_unsupported", imageField, "The file is no image of a known format. %s", cure)
}

func prefix(magic string) func([]byte) bool {
	return func(data []byte) bool { return bytes.HasPrefix(data, []byte(magic)) }
}

// brand matches an ISO base media file by its major brand.
func brand(names ...string) func([]byte) bool {
	return func(data []byte) bool {
		if len(data) < 12 || string(data[4:8]) != "ftyp" {
			return false
		}
		for _, n := range names {
			if string(data[8:12]) == n {
				return true
			}
		}
		return false
	}
}

func isWebP(data []byte) bool {
	return len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP"
}

// animatedWebP reports the animation flag of the extended header, which comes first in such a file.
func animatedWebP(data []byte) bool {
	const animation = 1 << 1
	return len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&animation != 0
}

func header(f func(io.Reader) (image.Config, error)) func([]byte) (image.Config, error) {
	return func(data []byte) (image.Config, error) { return f(bytes.NewReader(data)) }
}

func plain(f func(io.Reader) (image.Image, error)) func([]byte, image.Config) (*Picture, error) {
	return func(data []byte, _ image.Config) (*Picture, error) {
		m, err := f(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return toRGB(m)
	}
}

// jpegConfig also counts the scans: each scan of a progressive file walks over the whole picture, however few bytes it
// has, so a small file with many of them would keep a core busy for minutes.
func jpegConfig(data []byte) (image.Config, error) {
	const maxScans = 500 // cameras and encoders write at most some ten; the count also sees chance bytes in metadata
	if n := bytes.Count(data, []byte{0xff, 0xda}); n > maxScans {
		return image.Config{}, fmt.Errorf("%d scans", n)
	}
	return jpeg.DecodeConfig(bytes.NewReader(data))
}

func decodeJPEG(data []byte, _ image.Config) (*Picture, error) {
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if ycc, ok := m.(*image.YCbCr); ok {
		return jpegToRGB(ycc), nil
	}
	return toRGB(m)
}

func decodeWebP(data []byte, _ image.Config) (*Picture, error) {
	m, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return webpToRGB(m), nil
	case *image.NYCbCrA:
		return webpToRGB(&m.YCbCr), nil
	}
	return toRGB(m)
}

var errColourModel = errors.New("unknown colour model")
