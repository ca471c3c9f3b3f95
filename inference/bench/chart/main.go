// Command chart draws what more tokens cost, from the data of `humo-worker bench table`:
//
//	chart docs/performance.json docs/performance.png
//
// It is a command of its own, so that the worker does not carry a plotting library.
package main

import (
	"errors"
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/humo-worker/humo-worker/inference/bench"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) (err error) {
	if len(args) != 2 {
		return errors.New("usage: chart performance.json performance.png")
	}
	t, err := bench.ReadTable(args[0])
	if err != nil {
		return err
	}
	canvas, err := chart(t)
	if err != nil {
		return err
	}
	f, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = vgimg.PngCanvas{Canvas: canvas}.WriteTo(f)
	return err
}

const width, height, dpi = 24 * vg.Centimeter, 10 * vg.Centimeter, 110

var (
	ours   = color.RGBA{R: 0x1f, G: 0x5f, B: 0xbf, A: 0xff}
	theirs = color.RGBA{R: 0xd0, G: 0x5a, B: 0x1e, A: 0xff}
)

// chart draws time and memory over tokens, side by side.
func chart(t *bench.Table) (*vgimg.Canvas, error) {
	time, err := panel("Time of a pass", "seconds", t, func(r bench.Result) (float64, float64) {
		if r.Torch == nil {
			return r.Seconds.Median, 0
		}
		return r.Seconds.Median, r.Torch.Seconds.Median
	})
	if err != nil {
		return nil, err
	}
	memory, err := panel("Peak memory", "GB", t, func(r bench.Result) (float64, float64) {
		if r.Torch == nil {
			return float64(r.PeakBytes) / 1e9, 0
		}
		return float64(r.PeakBytes) / 1e9, float64(r.Torch.PeakBytes-r.Torch.LibraryBytes) / 1e9
	})
	if err != nil {
		return nil, err
	}
	image := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
	tiles := draw.Tiles{Rows: 1, Cols: 2, PadX: vg.Centimeter, PadTop: 3 * vg.Millimeter, PadBottom: 3 * vg.Millimeter,
		PadLeft: 3 * vg.Millimeter, PadRight: 5 * vg.Millimeter}
	canvases := plot.Align([][]*plot.Plot{{time, memory}}, tiles, draw.New(image))
	time.Draw(canvases[0][0])
	memory.Draw(canvases[0][1])
	return image, nil
}

// panel draws one quantity, ours and PyTorch's, from zero.
func panel(title, unit string, t *bench.Table, of func(bench.Result) (ours, theirs float64)) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, "tokens", unit
	p.X.Min, p.Y.Min = 0, 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	var own, other plotter.XYs
	var ticks plot.ConstantTicks
	for _, r := range t.Rows {
		if !r.Growth {
			continue
		}
		x := float64(r.Report.Tokens)
		a, b := of(r.Report.Results[0])
		own = append(own, plotter.XY{X: x, Y: a})
		if b > 0 {
			other = append(other, plotter.XY{X: x, Y: b})
		}
		ticks = append(ticks, plot.Tick{Value: x, Label: fmt.Sprint(r.Report.Tokens)})
	}
	if len(own) == 0 {
		return nil, errors.New("the table has no entries of growing length")
	}
	p.X.Tick.Marker = ticks
	for _, line := range []struct {
		name   string
		points plotter.XYs
		color  color.Color
		shape  draw.GlyphDrawer
	}{{"PyTorch " + t.PyTorch, other, theirs, draw.SquareGlyph{}}, {"humo-worker", own, ours, draw.CircleGlyph{}}} {
		if len(line.points) == 0 {
			continue
		}
		l, s, err := plotter.NewLinePoints(line.points)
		if err != nil {
			return nil, err
		}
		l.Color, l.Width = line.color, vg.Points(1.5)
		s.Color, s.Shape, s.Radius = line.color, line.shape, vg.Points(3)
		p.Add(l, s)
		p.Legend.Add(line.name, l, s)
	}
	return p, nil
}
