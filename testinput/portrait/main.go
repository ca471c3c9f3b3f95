// Command portrait draws testinput/person.png: a face and shoulders out of ellipses. It is drawn instead of
// photographed so that it belongs to nobody.
//
//	go run ./testinput/portrait testinput/person.png
package main

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
)

const (
	width, height = 256, 320
	samples       = 4 // per pixel and axis
)

// shape is an ellipse; of a part of the picture only where in says so.
type shape struct {
	x, y, rx, ry float64 // centre and radii, pixels
	light, dark  [3]float64
	in           func(x, y float64) bool
}

var (
	skinLight, skinDark   = [3]float64{236, 188, 158}, [3]float64{196, 140, 110}
	hairLight, hairDark   = [3]float64{92, 58, 38}, [3]float64{48, 28, 18}
	shirtLight, shirtDark = [3]float64{74, 112, 156}, [3]float64{40, 66, 104}
	white, iris, pupil    = [3]float64{244, 242, 238}, [3]float64{84, 120, 108}, [3]float64{20, 18, 18}
	lip, lipDark          = [3]float64{186, 92, 88}, [3]float64{140, 62, 62}
)

func below(limit float64) func(x, y float64) bool {
	return func(_, y float64) bool { return y > limit }
}
func above(limit float64) func(x, y float64) bool {
	return func(_, y float64) bool { return y < limit }
}

// shapes, from back to front.
var shapes = []shape{
	{128, 158, 86, 112, hairDark, hairDark, nil},
	{128, 132, 82, 104, hairLight, hairDark, nil},
	{128, 336, 112, 84, shirtLight, shirtDark, nil},
	{128, 236, 30, 48, skinDark, skinDark, nil}, // neck
	{62, 152, 12, 20, skinLight, skinDark, nil},
	{194, 152, 12, 20, skinLight, skinDark, nil},
	{128, 146, 66, 86, skinLight, skinDark, nil}, // face
	{120, 74, 74, 42, hairLight, hairDark, above(96)},
	{99, 124, 17, 4, hairDark, hairDark, above(126)},
	{157, 124, 17, 4, hairDark, hairDark, above(126)},
	{99, 143, 15, 8.5, white, white, nil},
	{157, 143, 15, 8.5, white, white, nil},
	{100, 143, 7.5, 7.5, iris, iris, nil},
	{156, 143, 7.5, 7.5, iris, iris, nil},
	{100, 143, 3.6, 3.6, pupil, pupil, nil},
	{156, 143, 3.6, 3.6, pupil, pupil, nil},
	{102.5, 140.5, 1.4, 1.4, white, white, nil},
	{158.5, 140.5, 1.4, 1.4, white, white, nil},
	{128, 168, 8, 14, skinLight, skinDark, below(150)}, // nose
	{122, 180, 3.4, 2, skinDark, lipDark, nil},
	{134, 180, 3.4, 2, skinDark, lipDark, nil},
	{128, 202, 24, 9, lip, lipDark, nil},
	{128, 200.5, 20, 1.6, lipDark, lipDark, nil},
}

// colourAt is the colour of a point: a backdrop, darker to the corners, then every shape that covers it. Shapes are
// lit from the upper left.
func colourAt(x, y float64) [3]float64 {
	shade := 1 - 0.25*math.Hypot(x-width/2, y-height/2)/200
	c := [3]float64{206 * shade, 212 * shade, 216 * shade}
	for _, s := range shapes {
		dx, dy := (x-s.x)/s.rx, (y-s.y)/s.ry
		if dx*dx+dy*dy > 1 || s.in != nil && !s.in(x, y) {
			continue
		}
		dark := min(max(0.45+0.35*dx+0.3*dy, 0), 1)
		for i := range c {
			c[i] = s.light[i]*(1-dark) + s.dark[i]*dark
		}
	}
	return c
}

func draw() image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			var sum [3]float64
			for n := range samples * samples {
				c := colourAt(float64(x)+(float64(n%samples)+0.5)/samples, float64(y)+(float64(n/samples)+0.5)/samples)
				for i := range sum {
					sum[i] += c[i] / (samples * samples)
				}
			}
			m.SetNRGBA(x, y, color.NRGBA{uint8(sum[0] + 0.5), uint8(sum[1] + 0.5), uint8(sum[2] + 0.5), 255})
		}
	}
	return m
}

func run(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	return (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(f, draw())
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: portrait FILE.png")
		os.Exit(1)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
