package whisper

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func TestMergedFramesLoseOneAsTheReference(t *testing.T) {
	var lost []int
	for a := 1; a < 4000; a++ {
		switch m := MergedFrames(a, DefaultFPS); m {
		case a:
		case a - 1:
			lost = append(lost, a)
		default:
			t.Fatalf("%d audio frames give %d", a, m)
		}
	}
	first := []int{29, 57, 58, 113, 114, 115, 116, 201, 203, 205, 207, 226, 228}
	if diff := cmp.Diff(first, lost[:min(len(first), len(lost))]); diff != "" || len(lost) != 272 {
		t.Errorf("%d lengths lose a frame, want 272; the first (-want +got):\n%s", len(lost), diff)
	}
}

func TestMergedFramesAtOtherRates(t *testing.T) {
	for _, c := range []struct{ audioFrames, fps, want int }{
		{25, 25, 25}, {25, 50, 50}, {25, 30, 30}, {25, 24, 24}, {100, 16, 64}, {1, 24, 0}, {0, 25, 0}, {0, 60, 0},
	} {
		if got := MergedFrames(c.audioFrames, c.fps); got != c.want {
			t.Errorf("%d audio frames at %d fps: %d, want %d", c.audioFrames, c.fps, got, c.want)
		}
	}
}

func TestKeptRows(t *testing.T) {
	for samples, want := range map[int]int{0: 0, 639: 0, 640: 2, 1279: 2, 1280: 4, 489000: 1528} {
		if got := KeptRows(AudioFrames(samples)); got != want {
			t.Errorf("%d samples keep %d rows, want %d", samples, got, want)
		}
	}
}

// The stored hidden states hold state 32, which alone is the last band.
func TestMergeEqualsReference(t *testing.T) {
	g := goldentest.Open(t, "audio_16k")
	const width, states, lastState = 24, 6, 5
	if picked := g.Ints(t, "mid.hidden_index"); len(picked) != states || picked[lastState] != 32 {
		t.Fatalf("the stored states are %v", picked)
	}
	hidden := g.Floats(t, "mid.hidden")
	rows := len(hidden) / states / width
	var bands [Bands][]float32
	for b := range bands {
		for r := range rows {
			bands[b] = append(bands[b], hidden[(r*states+lastState)*width:(r*states+lastState+1)*width]...)
		}
	}
	frames := MergedFrames(AudioFrames(len(waves["audio_16k"](t, g))), DefaultFPS)
	got, err := Merge(bands, width, rows, frames, frames)
	if err != nil {
		t.Fatal(err)
	}
	want := g.Floats(t, "out.merged")
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	worst, limit := 0.0, g.Bound(t, "out.merged")
	for f := range frames {
		at := (f*Bands + Bands - 1) * width
		for k := range width {
			worst = max(worst, math.Abs(float64(got[at+k]-want[at+k])))
		}
	}
	t.Logf("largest error %.2g, tolerance %.2g", worst, limit)
	if !(worst <= limit) {
		t.Errorf("state 32 is off by %v, tolerance %v", worst, limit)
	}
}

func TestMergeByHand(t *testing.T) {
	band := func(scale float32) []float32 { // two values a row: 0 and 10, 1 and 11, ... times scale; a fifth row is padding
		var out []float32
		for r := range 5 {
			out = append(out, scale*float32(r), scale*float32(r+10))
		}
		return out
	}
	var bands [Bands][]float32
	for b := range bands {
		bands[b] = band(float32(b + 1))
	}
	for frames, positions := range map[int][]float32{1: {0}, 2: {0, 3}, 3: {0, 1.5, 3}, 4: {0, 1, 2, 3}, 7: {0, 0.5, 1, 1.5, 2, 2.5, 3}} {
		got, err := Merge(bands, 2, 4, frames, frames)
		if err != nil {
			t.Fatal(err)
		}
		var want []float32
		for _, p := range positions {
			for b := range Bands {
				scale := float32(b + 1)
				want = append(want, scale*p, scale*(p+10))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d frames (-want +got):\n%s", frames, diff)
		}
	}
	got, err := Merge(bands, 2, 1, 3, 3) // a single row, stretched
	if err != nil {
		t.Fatal(err)
	}
	for f := range 3 {
		if got[f*Bands*2] != 0 || got[f*Bands*2+1] != 10 {
			t.Errorf("frame %d of a single row is %v", f, got[f*Bands*2:f*Bands*2+2])
		}
	}
}

// The last frame is the last row, whatever float32 makes of the positions.
func TestMergeEndsAtTheLastRow(t *testing.T) {
	var bands [Bands][]float32
	for frames := 1; frames < 4000; frames += 7 {
		rows := 2 * frames
		for len(bands[0]) < rows {
			bands[0] = append(bands[0], float32(len(bands[0])))
		}
		for b := range bands {
			bands[b] = bands[0]
		}
		m := MergedFrames(frames, DefaultFPS)
		got, err := Merge(bands, 1, rows, m, m)
		if err != nil {
			t.Fatal(err)
		}
		if last := got[(m-1)*Bands]; m > 1 && math.Abs(float64(last)-float64(rows-1)) > 1e-3 {
			t.Errorf("%d rows to %d frames end at row %v", rows, m, last)
		}
	}
}

// What is heard of a track is the beginning of the whole, bit for bit, and depends on no row that HeardRows does not count.
func TestMergeHeard(t *testing.T) {
	for _, c := range []struct{ seconds, fps, clip, frames, rows int }{
		{600, 25, 97, 99, 198}, {600, 30, 97, 99, 165}, {600, 25, 5, 7, 14}, {60, 50, 401, 403, 404}, {4, 25, 97, 99, 198}, {1, 25, 97, 25, 50}, {1, 25, 1, 3, 6},
	} {
		audio := c.seconds * DefaultFPS
		rows, frames := KeptRows(audio), MergedFrames(audio, c.fps)
		var bands, beginning [Bands][]float32
		heard := HeardFrames(c.clip, frames)
		needed := HeardRows(rows, frames, heard)
		for b := range bands {
			for r := range rows {
				bands[b] = append(bands[b], float32(math.Sin(float64(r*(b+1)))))
			}
			beginning[b] = bands[b][:needed]
		}
		whole, err := Merge(bands, 1, rows, frames, frames)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Merge(beginning, 1, rows, frames, heard)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := Windows(whole, Bands, c.clip, 1)
		windows, _ := Windows(got, Bands, c.clip, 1)
		if !slices.Equal(want, windows) || !slices.Equal(whole[:len(got)], got) {
			t.Errorf("%+v: the windows are others", c)
		}
		if heard != c.frames || needed != c.rows {
			t.Errorf("%+v: %d frames of %d rows", c, heard, needed)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	full := [Bands][]float32{{1, 2}, {1, 2}, {1, 2}, {1, 2}, {1, 2}}
	short := full
	short[3] = []float32{1}
	for name, c := range map[string]struct {
		bands               [Bands][]float32
		width, rows, frames int
	}{
		"no rows": {full, 1, 0, 1}, "no frames": {full, 1, 2, 0}, "no width": {full, 0, 2, 1},
		"too many rows": {full, 1, 3, 2}, "one band short": {short, 1, 2, 1},
	} {
		if got, err := Merge(c.bands, c.width, c.rows, c.frames, c.frames); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestFrameCount(t *testing.T) {
	for _, c := range []struct {
		requested, merged, want int
		field                   string
	}{
		{97, 28, 97, ""}, {97, 4000, 97, ""}, {98, 28, 97, ""}, {100, 28, 97, ""}, {101, 28, 101, ""}, {1, 5, 1, ""}, {4, 5, 1, ""},
		{0, 28, 25, ""}, {-1, 28, 25, ""}, {-1, 29, 29, ""}, {0, 1, 1, ""}, {0, 3, 1, ""},
		{97, 0, 0, "audio"}, {0, 0, 0, "audio"}, {-2, 28, 0, "frames"}, {math.MinInt, 28, 0, "frames"}, {math.MaxInt, 28, 0, "frames"},
	} {
		got, err := FrameCount(c.requested, c.merged)
		if c.field == "" {
			if err != nil || got != c.want {
				t.Errorf("%d requested, %d merged: %d, %v; want %d", c.requested, c.merged, got, err, c.want)
			}
			continue
		}
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Field != c.field {
			t.Errorf("%d requested, %d merged: %d, %v; want a fault about %q", c.requested, c.merged, got, err, c.field)
		}
	}
}
