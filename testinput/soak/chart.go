package main

import (
	"errors"
	"fmt"
	"image/color"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

const (
	width, height, dpi = 36 * vg.Centimeter, 30 * vg.Centimeter, 100
	rows, columns      = 4, 3
	head               = 2.2 * vg.Centimeter // for the title
)

var (
	atRest  = color.RGBA{R: 0x1f, G: 0x5f, B: 0xbf, A: 0xff}
	working = color.RGBA{R: 0xb8, G: 0xbc, B: 0xc4, A: 0xff}
	fitted  = color.RGBA{R: 0xd0, G: 0x5a, B: 0x1e, A: 0xff}
	quarter = color.RGBA{R: 0xf3, G: 0xee, B: 0xe2, A: 0xff}
	full    = color.RGBA{R: 0x3a, G: 0x8a, B: 0x4d, A: 0xff}
)

// draw writes the chart: a panel for each quantity, and one that says what the jobs were.
func (r *report) draw(path string) (err error) {
	image := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi))
	page := draw.New(image)
	write(page, 0.4*vg.Centimeter, height-0.9*vg.Centimeter, 16, color.Black, fmt.Sprintf("%d jobs in %.0f minutes: what one worker holds", r.Jobs, r.Minutes))
	write(page, 0.4*vg.Centimeter, height-1.6*vg.Centimeter, 10, color.Black, fmt.Sprintf("%s, %s, %d cores, %s. Demo weights, %d jobs at the same time. "+
		"Grey: while it works, every second. Blue: at rest, every few jobs. Shaded: the last quarter, with its fitted line.",
		r.Date, r.Machine.CPU, r.Machine.Cores, r.Machine.Platform, r.Concurrency))
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 0.8 * vg.Centimeter, PadY: 0.5 * vg.Centimeter, PadTop: head,
		PadBottom: 3 * vg.Millimeter, PadLeft: 3 * vg.Millimeter, PadRight: 6 * vg.Millimeter}
	grid := make([][]*plot.Plot, rows)
	for i := range grid {
		grid[i] = make([]*plot.Plot, columns)
	}
	for i, q := range quantities {
		p, err := r.panel(q, r.Trends[i])
		if err != nil {
			return err
		}
		grid[i/columns][i%columns] = p
	}
	for i, canvases := range plot.Align(grid, tiles, page) {
		for k, c := range canvases {
			if p := grid[i][k]; p != nil {
				p.Draw(c)
			}
		}
	}
	r.legend(tiles.At(page, columns-1, rows-1))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = vgimg.PngCanvas{Canvas: image}.WriteTo(f)
	return err
}

func write(c draw.Canvas, x, y vg.Length, size float64, in color.Color, line string) {
	style := text.Style{Color: in, Font: font.From(plot.DefaultFont, vg.Points(size)), Handler: plot.DefaultTextHandler}
	c.FillText(style, vg.Point{X: c.Min.X + x, Y: c.Min.Y + y}, line)
}

// panel draws one quantity over the jobs.
func (r *report) panel(q quantity, t trend) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = q.name
	if q.bounded != "" {
		p.Title.Text += " (bound: " + q.bounded + ")"
	}
	p.Title.Text += "\n" + t.words()
	p.Title.TextStyle.Font.Size = vg.Points(10)
	p.X.Label.Text, p.Y.Label.Text = "jobs done", q.unit
	var rest, work plotter.XYs
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range r.Samples {
		at := plotter.XY{X: float64(s.Jobs), Y: q.of(s)}
		low, high = min(low, at.Y), max(high, at.Y)
		if s.Rest {
			rest = append(rest, at)
		} else if s.Jobs > 0 {
			work = append(work, at)
		}
	}
	margin := max((high-low)/10, high/50, 0.5)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, float64(r.Jobs), max(0, low-margin), high+margin
	if q.unit == "MB" { // from zero: what matters is the part that it is of the whole
		p.Y.Min = 0
	}
	from := float64(r.Jobs) * 3 / 4
	shade, err := plotter.NewPolygon(plotter.XYs{{X: from, Y: p.Y.Min}, {X: p.X.Max, Y: p.Y.Min}, {X: p.X.Max, Y: p.Y.Max}, {X: from, Y: p.Y.Max}})
	if err != nil {
		return nil, err
	}
	shade.Color, shade.Width = quarter, 0
	p.Add(shade, plotter.NewGrid())
	if q.unit == "MB" && q.bounded == "" && r.CacheFullAt > 0 {
		if err := stroke(p, plotter.XYs{{X: float64(r.CacheFullAt), Y: p.Y.Min}, {X: float64(r.CacheFullAt), Y: p.Y.Max}}, full, 1, vg.Points(3), vg.Points(3)); err != nil {
			return nil, err
		}
	}
	if len(work) > 0 {
		dots, err := plotter.NewScatter(work)
		if err != nil {
			return nil, err
		}
		dots.Color, dots.Radius, dots.Shape = working, vg.Points(1), draw.CircleGlyph{}
		p.Add(dots)
	}
	if err := stroke(p, rest, atRest, 1.5); err != nil {
		return nil, err
	}
	if t.Verdict != unsure {
		middle, half := (from+p.X.Max)/2, t.Slope/1000*(p.X.Max-from)/2
		if err := stroke(p, plotter.XYs{{X: from, Y: t.Last - half}, {X: 2*middle - from, Y: t.Last + half}}, fitted, 2.5); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func stroke(p *plot.Plot, points plotter.XYs, in color.Color, width float64, dashes ...vg.Length) error {
	if len(points) == 0 {
		return nil
	}
	l, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	l.Color, l.Width, l.Dashes = in, vg.Points(width), dashes
	p.Add(l)
	return nil
}

// words are the verdict, for people.
func (t trend) words() string {
	if t.Verdict == unsure {
		return string(unsure)
	}
	unit := "per 1000 jobs"
	if t.Unit != "" {
		unit = t.Unit + " " + unit
	}
	return fmt.Sprintf("%s: %+.2f %s (99 %%: %+.2f to %+.2f)", t.Verdict, t.Slope, unit, t.Low, t.High)
}

// legend says what the jobs were and how they ended.
func (r *report) legend(c draw.Canvas) {
	groups := map[string]int{}
	for kind, n := range r.Counts {
		group, _, _ := strings.Cut(kind, ",")
		group, _, _ = strings.Cut(group, " to ")
		if strings.HasPrefix(group, "bad: ") {
			group = fmt.Sprintf("bad, of %d kinds: refused as they must be", r.kindsOfBad())
		}
		groups[group] += n
	}
	delete(groups, inTime)
	lines := []string{fmt.Sprintf("The jobs: %d ended otherwise than they must.", len(r.Wrong))}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		lines = append(lines, fmt.Sprintf("%6d  %s", groups[group], group))
	}
	lines = append(lines, fmt.Sprintf("Of the cancelled ones, %d had not ended yet.", r.Counts[inTime]))
	if r.CacheFullAt > 0 {
		lines = append(lines, "", fmt.Sprintf("Green, dashed: the prompt cache in memory (64 MiB) is full after %d jobs.", r.CacheFullAt))
	}
	y := c.Max.Y - c.Min.Y - 0.4*vg.Centimeter
	for _, line := range lines {
		write(c, 0, y, 7.5, color.Black, line)
		y -= 0.31 * vg.Centimeter
	}
}

func (r *report) kindsOfBad() int {
	n := 0
	for kind := range r.Counts {
		if strings.HasPrefix(kind, "bad: ") {
			n++
		}
	}
	return n
}
