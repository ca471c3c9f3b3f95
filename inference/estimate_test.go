package inference

import (
	"math"
	"testing"
)

// The figures are those of the research notes' table, worked out by hand for 97 frames and one reference frame.
func TestCostOf(t *testing.T) {
	for _, c := range []struct {
		variant       Variant
		mode          Mode
		width, height int
		passes        int
		tokens        int
		tera          float64 // FLOP of one call
	}{
		{Variant1B, TA, 832, 480, 3, 40_560, 420},
		{Variant1B, TIA, 1280, 720, 4, 93_600, 1885},
		{Variant17B, TA, 832, 480, 3, 40_560, 2508},
		{Variant17B, TIA, 720, 1280, 3, 93_600, 9850},
	} {
		s := Spec{Variant: c.variant, Mode: c.mode, Frames: 99, Width: c.width, Height: c.height, Steps: 50}
		if c.mode == TIA {
			s.ImagePaths = []string{"one"}
		}
		got, err := CostOf(s, PublishedShape(c.variant))
		if err != nil {
			t.Fatal(err)
		}
		if got.Passes != c.passes || got.Steps != 50 || got.Frames != 97 || got.Tokens != c.tokens {
			t.Errorf("%s %s: %+v, want %d passes of %d tokens, 97 frames", c.variant, c.mode, got, c.passes, c.tokens)
		}
		if tera := got.FLOP / float64(50*c.passes) / 1e12; math.Abs(tera-c.tera) > 0.01*c.tera {
			t.Errorf("%s %s: %.0f TFLOP a call, want %.0f", c.variant, c.mode, tera, c.tera)
		}
	}
}

// The arithmetic is that of the weights that are there, the speed is measured, and more work takes longer.
func TestEstimate(t *testing.T) {
	e, s := openEngine(t), spec(t)
	small, err := e.Estimate(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	m, err := e.Models(s.Variant)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := CostOf(s, m.Transformer.Shape()); small.Cost != want {
		t.Errorf("cost %+v, want that of the checkpoint, %+v", small.Cost, want)
	}
	if published, _ := CostOf(s, PublishedShape(s.Variant)); small.FLOP >= published.FLOP {
		t.Errorf("%g FLOP on tiny weights, %g on the published ones", small.FLOP, published.FLOP)
	}
	if small.Seconds <= 0 || small.Seconds > 60 {
		t.Errorf("%g s", small.Seconds)
	}
	s.Steps *= 3
	if large, err := e.Estimate(t.Context(), s); err != nil || math.Abs(large.Seconds/small.Seconds-3) > 0.01 {
		t.Errorf("three times the steps take %g s instead of %g s (error %v)", large.Seconds, small.Seconds, err)
	}
	t.Logf("matrix products: %.0f GFLOP/s", e.speed.measured/1e9)
}

// What clips took wins over the measurement, the latest most.
func TestEstimateLearns(t *testing.T) {
	e, s := openEngine(t), spec(t)
	m, err := e.Models(s.Variant)
	if err != nil {
		t.Fatal(err)
	}
	cost, err := CostOf(s, m.Transformer.Shape())
	if err != nil {
		t.Fatal(err)
	}
	took := func(seconds float64) {
		e.learn(s, &Clip{Frames: cost.Frames, Timings: map[Stage]float64{StageDenoise: seconds}})
	}
	expect := func(seconds float64) {
		t.Helper()
		got, err := e.Estimate(t.Context(), s)
		if err != nil || math.Abs(got.Seconds-seconds) > 0.01*seconds {
			t.Errorf("estimate of %g s (error %v), want %g", got.Seconds, err, seconds)
		}
	}
	took(0.1) // says nothing
	took(100)
	expect(100)
	took(10)
	expect((0.5*100 + 10) / 1.5)
	s.Resume = &Checkpoint{}
	took(1000) // nor does this
	expect((0.5*100 + 10) / 1.5)
}

// Devices share a step's passes: the estimate is of the one with most of them, late in a balanced clip too.
func TestCostOnDevices(t *testing.T) {
	s := Spec{Variant: Variant1B, Mode: TIA, ImagePaths: []string{"one"}, Frames: 97, Width: 64, Height: 64, Steps: 50, Shift: 5}
	for _, c := range []struct {
		quality Quality
		turns   []int // on 1, 2, … devices, of 50 steps; 11 late ones of a balanced clip have three passes of four
	}{
		{Exact, []int{200, 100, 100, 50, 50}},
		{Balanced, []int{189, 100, 89, 50, 50}},
	} {
		s.Quality = c.quality
		cost, err := CostOf(s, PublishedShape(Variant1B))
		if err != nil {
			t.Fatal(err)
		}
		for i, turns := range c.turns {
			if got := cost.on(i+1, Linear{}) / cost.FLOP * float64(cost.Calls); math.Abs(got-float64(turns)) > 1e-6 {
				t.Errorf("%s on %d devices: %g calls one after the other, want %d", c.quality, i+1, got, turns)
			}
		}
	}
}
