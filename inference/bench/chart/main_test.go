package main

import (
	"encoding/json"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/humo-worker/humo-worker/inference/bench"
)

// The picture shows ours, and PyTorch's where it was there.
func TestChart(t *testing.T) {
	dir := t.TempDir()
	data, picture := filepath.Join(dir, "performance.json"), filepath.Join(dir, "performance.png")
	for _, compared := range []bool{true, false} {
		var table bench.Table
		for i := range 4 {
			tokens := 3120 << i
			r := bench.Result{Seconds: bench.Spread{Median: float64(tokens) / 700}, PeakBytes: int64(tokens) * 80_000}
			if compared {
				r.Torch = &bench.Compared{Seconds: bench.Spread{Median: float64(tokens) / 600}, PeakBytes: int64(tokens) * 160_000}
			}
			report := &bench.Report{Tokens: tokens, Results: []bench.Result{r}}
			table.Rows = append(table.Rows, bench.Row{Entry: bench.Entry{Growth: true}, Report: report})
		}
		text, err := json.Marshal(table)
		if err == nil {
			err = os.WriteFile(data, text, 0o600)
		}
		if err == nil {
			err = run([]string{data, picture})
		}
		if err != nil {
			t.Fatal(err)
		}
		if own, other := count(t, picture, ours), count(t, picture, theirs); own < 100 || (other >= 100) != compared {
			t.Errorf("compared %v: %d points of ours, %d of PyTorch's", compared, own, other)
		}
	}
	if err := os.WriteFile(data, []byte(`{"rows":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if run([]string{data, picture}) == nil || run(nil) == nil || run([]string{picture, data}) == nil {
		t.Error("nothing to draw was drawn")
	}
}

// count is how many points of a picture have a colour.
func count(t *testing.T, name string, want color.RGBA) (n int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			if color.RGBAModel.Convert(picture.At(x, y)) == want {
				n++
			}
		}
	}
	return n
}
