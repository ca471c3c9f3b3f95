package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bep/imagemeta"
	"github.com/google/go-cmp/cmp"
)

// Every picture in testdata has Pillow's decoding of it beside it.
func TestDecodeImageEqualsPillow(t *testing.T) {
	wants, err := filepath.Glob("testdata/*.*.png")
	if err != nil || len(wants) < 20 {
		t.Fatalf("found %d references, %v", len(wants), err)
	}
	for _, want := range wants {
		name := strings.TrimSuffix(want, ".png")
		t.Run(filepath.Base(name), func(t *testing.T) {
			p, q := mustDecode(t, name), mustDecode(t, want)
			if p.Width != q.Width || p.Height != q.Height {
				t.Fatalf("size %dx%d, want %dx%d", p.Width, p.Height, q.Width, q.Height)
			}
			largest, over1 := 0, 0
			for i := range p.RGB {
				d := int(p.RGB[i]) - int(q.RGB[i])
				d = max(d, -d)
				largest = max(largest, d)
				if d > 1 {
					over1++
				}
			}
			allowed := 0
			if filepath.Ext(name) == ".jpg" {
				allowed = 3 // another inverse DCT
			}
			if largest > allowed || over1*100 > len(p.RGB)*2 {
				t.Errorf("differs by up to %d (at most %d), %d of %d bytes by more than 1", largest, allowed, over1, len(p.RGB))
			}
		})
	}
}

func mustDecode(t *testing.T, path string) *Picture {
	t.Helper()
	p, err := DecodeImage(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Pillow clips 16-bit grey to white; we keep the high byte.
func TestGrey16IsScaled(t *testing.T) {
	p := mustDecode(t, "testdata/grey16.png")
	for i := range 24 {
		want := uint8(i * 2777 >> 8)
		if diff := cmp.Diff([]uint8{want, want, want}, p.RGB[3*i:3*i+3]); diff != "" {
			t.Fatalf("pixel %d (-want +got):\n%s", i, diff)
		}
	}
}

// A first frame smaller than its canvas: the rest has the colour of the transparent index.
func TestGIFCanvas(t *testing.T) {
	data := []byte("GIF89a\x03\x00\x02\x00\x80\x00\x00" + "\x0a\x14\x1e" + "\xc8\x96\x64" + // 3x2, colours 0 and 1
		"\x21\xfe\x02hi\x00" + // a comment to walk over
		"\x21\xf9\x04\x01\x00\x00\x01\x00" + // index 1 is transparent
		"\x2c\x01\x00\x01\x00\x01\x00\x01\x00\x00" + // one pixel at (1, 1)
		"\x02\x02\x44\x01\x00" + "\x3b") // index 0
	p, err := Limits{}.orDefault().decodeImage(data)
	if err != nil {
		t.Fatal(err)
	}
	bg, fg := []uint8{200, 150, 100}, []uint8{10, 20, 30}
	want := &Picture{Width: 3, Height: 2, RGB: bytes.Join([][]uint8{bg, bg, bg, bg, fg, bg}, nil)}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecodeImageFaults(t *testing.T) {
	jpeg, err := os.ReadFile("testdata/420.jpg")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data    []byte
		limits  Limits
		code    string
		mention string
	}{
		"empty":              {nil, Limits{}, "image_undecodable", "empty"},
		"text":               {[]byte("hello, this is no image"), Limits{}, "image_unsupported", "JPEG, PNG"},
		"avif":               {[]byte("\x00\x00\x00\x1cftypavif\x00\x00\x00\x00"), Limits{}, "image_unsupported", "AVIF"},
		"heic":               {[]byte("\x00\x00\x00\x1cftypheic\x00\x00\x00\x00"), Limits{}, "image_unsupported", "HEIC"},
		"tiff":               {[]byte("II*\x00\x08\x00\x00\x00"), Limits{}, "image_unsupported", "TIFF"},
		"svg":                {[]byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), Limits{}, "image_unsupported", "SVG"},
		"animated webp":      {mustRead(t, "testdata/animated.webp"), Limits{}, "image_unsupported", "animated"},
		"truncated jpeg":     {jpeg[:len(jpeg)/2], Limits{}, "image_undecodable", "JPEG"},
		"magic only":         {[]byte("\x89PNG\r\n\x1a\n"), Limits{}, "image_undecodable", "PNG"},
		"many scans":         {append(bytes.Clone(jpeg), bytes.Repeat([]byte{0xff, 0xda}, 600)...), Limits{}, "image_undecodable", "JPEG"},
		"too many bytes":     {jpeg, Limits{ImageBytes: 100}, "image_too_large", "MB"},
		"too many pixels":    {jpeg, Limits{ImagePixels: 37*29 - 1}, "image_too_large", "37x29"},
		"decompression bomb": {bombPNG(50000, 50000), Limits{}, "image_too_large", "50000x50000"},
		"zero width":         {bombPNG(0, 5), Limits{}, "image_undecodable", "PNG"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.limits.DecodeImage(t.Context(), write(t, "misleading.jpg", c.data))
			wantFault(t, err, c.code, "images")
			if !strings.Contains(err.Error(), c.mention) {
				t.Errorf("%q does not mention %q", err, c.mention)
			}
		})
	}
	if _, err := (Limits{ImageBytes: int64(len(jpeg)), ImagePixels: 37 * 29}).DecodeImage(t.Context(), "testdata/420.jpg"); err != nil {
		t.Errorf("exactly at the limits: %v", err)
	}
	_, err = DecodeImage(t.Context(), "testdata/no such file")
	wantFault(t, err, "image_undecodable", "images")
	fifo := filepath.Join(t.TempDir(), "pipe.png")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = DecodeImage(t.Context(), fifo) // must not block
	wantFault(t, err, "image_undecodable", "images")
}

func TestDecoderPanicIsAFault(t *testing.T) {
	saved := formats
	t.Cleanup(func() { formats = saved })
	formats = []format{{"Test", prefix("BOOM"), func([]byte) (image.Config, error) { return image.Config{Width: 1, Height: 1}, nil },
		func([]byte, image.Config) (*Picture, error) {
			var none []int
			return nil, fmt.Errorf("%d", none[len(none)])
		}, imagemeta.ImageFormatAuto}}
	_, err := Limits{}.orDefault().decodeImage([]byte("BOOM"))
	wantFault(t, err, "image_undecodable", "images")
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// bombPNG is a valid header that promises width x height pixels.
func bombPNG(width, height uint32) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), width), height)
	return append([]byte("\x89PNG\r\n\x1a\n"), pngChunk(append(head, 8, 2, 0, 0, 0))...)
}

// pngChunk adds length and checksum to a chunk's type and data.
func pngChunk(chunk []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(chunk)-4))
	return binary.BigEndian.AppendUint32(append(out, chunk...), crc32.ChecksumIEEE(chunk))
}

func FuzzDecodeImage(f *testing.F) {
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			f.Add(mustRead(f, name))
		}
	}
	f.Add(bombPNG(3, 3))
	limits := Limits{ImageBytes: 1 << 20, ImagePixels: 1 << 16}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := limits.decodeImage(data)
		if err != nil {
			return
		}
		if p.Width <= 0 || p.Height <= 0 || len(p.RGB) != 3*p.Width*p.Height || int64(p.Width)*int64(p.Height) > limits.ImagePixels {
			t.Fatalf("%dx%d with %d bytes", p.Width, p.Height, len(p.RGB))
		}
		Letterbox(p, 32, 16)
	})
}
