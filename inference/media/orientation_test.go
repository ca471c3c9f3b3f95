package media

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The upright picture is abc/def; stored is what a camera writes for each orientation (EXIF 2.32, 4.6.4 A).
func TestOriented(t *testing.T) {
	upright := letters(3, "abcdef")
	for orientation, stored := range map[int]*Picture{
		0: letters(3, "abcdef"),
		1: letters(3, "abcdef"),
		2: letters(3, "cbafed"),
		3: letters(3, "fedcba"),
		4: letters(3, "defabc"),
		5: letters(2, "adbecf"),
		6: letters(2, "cfbead"),
		7: letters(2, "fcebda"),
		8: letters(2, "daebfc"),
		9: letters(3, "abcdef"),
	} {
		if diff := cmp.Diff(upright, stored.oriented(orientation)); diff != "" {
			t.Errorf("orientation %d (-want +got):\n%s", orientation, diff)
		}
	}
}

func letters(width int, s string) *Picture {
	p := &Picture{Width: width, Height: len(s) / width}
	for _, c := range []byte(s) {
		p.RGB = append(p.RGB, c, c+32, c+64)
	}
	return p
}

func TestOrientationIsReadFromEXIF(t *testing.T) {
	jpeg, png, webp := mustRead(t, "testdata/420.jpg"), mustRead(t, "testdata/rgba.png"), mustRead(t, "testdata/alpha.webp")
	app1 := append([]byte("Exif\x00\x00"), exif(6)...)
	segment := append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(app1)+2)), app1...)
	chunk := append(binary.LittleEndian.AppendUint32([]byte("EXIF"), uint32(len(exif(6)))), exif(6)...)
	turnedWebP := append(bytes.Clone(webp), chunk...)
	turnedWebP[20] |= 1 << 3 // the extended header's EXIF flag
	binary.LittleEndian.PutUint32(turnedWebP[4:], uint32(len(turnedWebP)-8))
	for name, c := range map[string]struct{ plain, turned []byte }{
		"jpeg": {jpeg, splice(jpeg, 2, segment)},
		"png":  {png, splice(png, 33, pngChunk(append([]byte("eXIf"), exif(6)...)))},
		"webp": {webp, turnedWebP},
	} {
		t.Run(name, func(t *testing.T) {
			plain, turned := mustDecode(t, write(t, "plain", c.plain)), mustDecode(t, write(t, "turned", c.turned))
			if plain.Width == turned.Width {
				t.Fatalf("still %dx%d", turned.Width, turned.Height)
			}
			if diff := cmp.Diff(plain.oriented(6), turned); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	damaged := splice(jpeg, 2, append([]byte{0xff, 0xe1, 0, 16}, "Exif\x00\x00garbage!"...))
	if diff := cmp.Diff(mustDecode(t, write(t, "plain", jpeg)), mustDecode(t, write(t, "damaged", damaged))); diff != "" {
		t.Errorf("damaged metadata changed the picture (-want +got):\n%s", diff)
	}
}

// exif is a TIFF block with the orientation tag alone.
func exif(orientation byte) []byte {
	return []byte{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0}
}

func splice(data []byte, at int, insert []byte) []byte {
	return append(append(bytes.Clone(data[:at]), insert...), data[at:]...)
}
