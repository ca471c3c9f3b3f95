package sampler

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"
)

func TestUniPCEqualsReference(t *testing.T) {
	g := goldentest.Open(t, "unipc")
	var runs [][2]float64
	g.Setting(t, "runs", &runs)
	if len(runs) == 0 {
		t.Fatal("no runs in the golden case")
	}
	for _, c := range runs {
		steps, name := int(c[0]), fmt.Sprintf("s%d_shift%v", int(c[0]), c[1])
		t.Run(name, func(t *testing.T) {
			s, err := NewSchedule(steps, c[1])
			if err != nil {
				t.Fatal(err)
			}
			x := slices.Clone(g.Floats(t, "in.noise"))
			velocities := g.Floats(t, "in.model_"+name)
			var samples []float32
			u := NewUniPC(s)
			for i := 0; !u.Done(); i++ {
				if want := g.Ints(t, "out.timesteps_"+name)[i]; u.Timestep() != want {
					t.Errorf("step %d asks about timestep %d, want %d", i, u.Timestep(), want)
				}
				if err := u.Advance(x, velocities[i*len(x):(i+1)*len(x)]); err != nil {
					t.Fatal(err)
				}
				samples = append(samples, x...)
			}
			g.Near(t, "out.samples_"+name, samples)
		})
	}
}

// velocity is a smooth field that depends on x and on the step, to drive a sampler without a network.
func velocity(step int, x []float32) []float32 {
	v := make([]float32, len(x))
	for i := range v {
		v[i] = float32(math.Sin(float64(step)+2*float64(x[i]))) + 0.1*float32(i)
	}
	return v
}

func run(t *testing.T, u *UniPC, x []float32) {
	t.Helper()
	for !u.Done() {
		if err := u.Advance(x, velocity(u.Step, x)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOrders(t *testing.T) {
	for steps, want := range map[int][]int{1: {1}, 2: {1, 1}, 3: {1, 2, 1}, 5: {1, 2, 2, 2, 1}} {
		u, x := NewUniPC(Table(steps, 5)), Noise(1, 4)
		var got []int
		for !u.Done() {
			if err := u.Advance(x, velocity(u.Step, x)); err != nil {
				t.Fatal(err)
			}
			got = append(got, u.Order)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d steps (-want +got):\n%s", steps, diff)
		}
	}
}

// The last step ends at the newest data prediction itself, not at something close to it.
func TestLastStepIsTheDataPrediction(t *testing.T) {
	u, x := NewUniPC(Table(6, 5)), Noise(2, 33)
	run(t, u, x)
	if diff := cmp.Diff(u.Predictions[1], x); diff != "" {
		t.Error(diff)
	}
}

// A straight path (constant velocity) is integrated exactly at any step count: x0 = noise - v·sigma_0.
func TestStraightPath(t *testing.T) {
	for _, steps := range []int{1, 2, 3, 7, 50, 250} {
		s := Table(steps, 5)
		x := []float32{1.25}
		const v = float32(-0.75)
		u := NewUniPC(s)
		for !u.Done() {
			if err := u.Advance(x, []float32{v}); err != nil {
				t.Fatal(err)
			}
		}
		want := 1.25 - float64(v)*float64(s.Sigmas[0])
		if math.Abs(float64(x[0])-want) > 1e-5 {
			t.Errorf("%d steps: %v, want %v", steps, x[0], want)
		}
	}
}

// On dx/dsigma = x, whose solution is x·e^(-sigma_0), the solver is far more exact than Euler's first-order steps.
func TestBetterThanEuler(t *testing.T) {
	for _, steps := range []int{5, 20, 50} {
		s := Table(steps, 1)
		exact := math.Exp(-float64(s.Sigmas[0]))
		euler := 1.0
		for i := range steps {
			euler += float64(s.Sigmas[i+1]-s.Sigmas[i]) * euler
		}
		x, u := []float32{1}, NewUniPC(s)
		for !u.Done() {
			if err := u.Advance(x, []float32{x[0]}); err != nil {
				t.Fatal(err)
			}
		}
		got, first := math.Abs(float64(x[0])-exact), math.Abs(euler-exact)
		t.Logf("%d steps: error %.2g, Euler's %.2g", steps, got, first)
		if got > first/8 {
			t.Errorf("%d steps: error %v, Euler's %v", steps, got, first)
		}
	}
}

func TestStateResumes(t *testing.T) {
	s := Table(6, 5)
	want := Noise(3, 20)
	run(t, NewUniPC(s), want)
	for stop := range s.Steps {
		u, x := NewUniPC(s), Noise(3, 20)
		for range stop {
			if err := u.Advance(x, velocity(u.Step, x)); err != nil {
				t.Fatal(err)
			}
		}
		saved, latents := u.Clone(), slices.Clone(x)
		run(t, u, x) // must not touch what was saved
		again := &UniPC{Schedule: s, State: saved}
		run(t, again, latents)
		if diff := cmp.Diff(want, latents); diff != "" {
			t.Errorf("resumed after %d steps (-want +got):\n%s", stop, diff)
		}
	}
}

func TestAdvanceRefuses(t *testing.T) {
	s := Table(3, 5)
	begun := func() *UniPC {
		u := NewUniPC(s)
		if err := u.Advance(make([]float32, 4), make([]float32, 4)); err != nil {
			t.Fatal(err)
		}
		return u
	}
	short := begun()
	short.Predictions = nil
	other := begun()
	other.Predictions[0] = make([]float32, 3)
	done := begun()
	run(t, done, make([]float32, 4))
	for name, c := range map[string]struct {
		u          *UniPC
		x, v       int
		mustRefuse bool
	}{
		"good":              {begun(), 4, 4, false},
		"velocity too long": {begun(), 4, 5, true},
		"other latents":     {begun(), 5, 5, true},
		"no predictions":    {short, 4, 4, true},
		"other predictions": {other, 4, 4, true},
		"done":              {done, 4, 4, true},
		"negative step":     {&UniPC{Schedule: s, State: State{Step: -1}}, 4, 4, true},
		"repeated timestep": {NewUniPC(Table(300, 5)), 4, 4, true},
	} {
		x := slices.Repeat([]float32{7}, c.x)
		step := c.u.Step
		err := c.u.Advance(x, make([]float32, c.v))
		if (err != nil) != c.mustRefuse {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (c.u.Step != step || slices.ContainsFunc(x, func(f float32) bool { return f != 7 })) {
			t.Errorf("%s: a refused step changed something", name)
		}
	}
}
