package main

import (
	"image"
	"image/png"
	"os"
	"testing"
)

// TestPersonIsTheDrawing: the sample picture is what this program draws, so its origin is known.
func TestPersonIsTheDrawing(t *testing.T) {
	f, err := os.Open("../person.png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	got, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	want := draw()
	if got.Bounds() != image.Rect(0, 0, width, height) {
		t.Fatalf("the picture is %v", got.Bounds())
	}
	for y := range height {
		for x := range width {
			if r, g, b, _ := got.At(x, y).RGBA(); [3]uint32{r, g, b} != rgb(want, x, y) {
				t.Fatalf("pixel %d,%d differs: run  go run ./testinput/portrait testinput/person.png", x, y)
			}
		}
	}
}

func rgb(m image.Image, x, y int) [3]uint32 {
	r, g, b, _ := m.At(x, y).RGBA()
	return [3]uint32{r, g, b}
}
