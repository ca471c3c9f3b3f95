package sampler

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func balanced(t *testing.T, v Variant, m Mode) *Plan {
	t.Helper()
	p, err := NewPlanOf(Balanced, v, m, DefaultScales(v))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// smooth is a velocity whose change over a step is a few percent of its size.
func smooth(x []float32) []float32 {
	v := make([]float32, len(x))
	for i := range v {
		v[i] = 1 + 0.1*x[i] + 0.3*float32(math.Sin(float64(i)))
	}
	return v
}

// denoise runs a schedule from latents, in place, and returns the steps that were computed. after may be nil.
func denoise(t *testing.T, u *UniPC, r *Reuse, x []float32, after func()) (computed []int) {
	t.Helper()
	for !u.Done() {
		v, spared := r.Predict(u.Step, x)
		if !spared {
			v = smooth(x)
			computed = append(computed, u.Step)
			r.Computed(u.Step, x, v)
		}
		if err := u.Advance(x, v); err != nil {
			t.Fatal(err)
		}
		if after != nil {
			after()
		}
	}
	return computed
}

// The first fifth, the last step and the step after the gate are computed; most others of a smooth path are not, and the path
// ends close to where it does without.
func TestReuseSparesSteps(t *testing.T) {
	s := Table(50, 5)
	p := balanced(t, Variant1_7B, ModeTIA)
	r := &Reuse{Plan: p, Schedule: s}
	x := Noise(1, 200)
	exact := slices.Clone(x)
	computed := denoise(t, NewUniPC(s), r, x, nil)
	gate := slices.IndexFunc(s.Timesteps, func(at int64) bool { return at <= p.Gate })
	for _, step := range []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, gate, 49} {
		if !slices.Contains(computed, step) {
			t.Errorf("step %d was not computed", step)
		}
	}
	t.Logf("computed: %v", computed)
	if len(computed) > 30 {
		t.Errorf("%d of 50 steps were computed", len(computed))
	}
	passes := 0
	for step, at := range s.Timesteps {
		if !slices.Contains(computed, step) {
			passes += len(p.Conditions(at))
		}
	}
	if r.Spared != passes {
		t.Errorf("%d passes spared, want %d", r.Spared, passes)
	}
	denoise(t, NewUniPC(s), &Reuse{Plan: &Plan{}, Schedule: s}, exact, nil)
	if d := meanDistance(x, exact) / meanSize(exact); d > 0.01 || d == 0 {
		t.Errorf("the path ends %g away", d)
	}
}

// The rule on one value, worked out by hand: k = 0.25, size 4.
func TestReuseRule(t *testing.T) {
	p := &Plan{Threshold: 0.05}
	s := &Schedule{Steps: 10, Timesteps: []int64{999, 990, 985, 983, 982, 981, 900, 800, 700, 600}}
	at := func(before, x float32, sum float64) *Reuse {
		return &Reuse{p, s, ReuseState{Input: []float32{1}, Velocity: []float32{4}, Before: []float32{before}, Timestep: 990, Rate: 0.25, Error: sum}}
	}
	for _, c := range []struct {
		name   string
		r      *Reuse
		step   int
		x      float32
		spared bool
		error  float64
	}{
		{"0.25·0.4/4 = 0.025", at(1, 1.4, 0), 3, 1.4, true, 0.025},
		{"and 0.024 more", at(1, 1.4, 0.024), 3, 1.4, true, 0.049},
		{"and 0.026 more", at(1, 1.4, 0.026), 3, 1.4, false, 0.051},
		{"from the step before, not from the computed one", at(1.2, 1.4, 0), 3, 1.4, true, 0.0125},
		{"in the first fifth", at(1, 1.4, 0), 1, 1.4, false, 0.025},
		{"at the last step", at(1, 1.4, 0), 9, 1.4, false, 0.025},
		{"on the other side of the switch", at(1, 1.4, 0), 6, 1.4, true, 0.025},
		{"no number", at(float32(math.NaN()), 1.4, 0), 3, 1.4, false, math.NaN()},
	} {
		if c.name == "on the other side of the switch" {
			c.r.Plan = &Plan{Threshold: 0.05, Scales: Scales{StepChange: 980}}
			c.spared = false
		}
		v, spared := c.r.Predict(c.step, []float32{c.x})
		if spared != c.spared || math.Abs(c.r.Error-c.error) > 1e-7 || math.IsNaN(c.error) != math.IsNaN(c.r.Error) {
			t.Errorf("%s: spared %v with an error of %g", c.name, spared, c.r.Error)
		}
		if spared && math.Abs(float64(v[0]-(4+c.x-1))) > 1e-6 {
			t.Errorf("%s: velocity %v", c.name, v)
		}
	}

	r := &Reuse{Plan: p, Schedule: s}
	if _, spared := r.Predict(3, []float32{1}); spared {
		t.Error("the first step was spared")
	}
	r.Computed(3, []float32{1}, []float32{4})
	if _, spared := r.Predict(4, []float32{1}); spared || r.Rate != 0 {
		t.Error("a step was spared before a rate was known")
	}
	r.Computed(4, []float32{3}, []float32{4.5}) // the transformation went from 3 to 1.5, the latents moved by 2
	if r.Rate != 0.75 || r.Error != 0 {
		t.Errorf("rate %g, error %g", r.Rate, r.Error)
	}
	r.Computed(5, []float32{3}, []float32{5}) // latents that stand still tell no rate
	if r.Rate != 0 {
		t.Errorf("rate %g", r.Rate)
	}
}

// Reusing the guided velocity is reusing each pass: v + (x - u) of the sum is the sum of the passes' v + (x - u).
func TestReuseOfTheSumIsThatOfEachPass(t *testing.T) {
	for _, late := range []bool{false, true} {
		p := balanced(t, Variant1_7B, ModeTIA)
		at := int64(900)
		if late {
			at = 300
		}
		u, x := Noise(4, 64), Noise(5, 64)
		outputs, moved := make([][]float32, len(p.Passes)), make([][]float32, len(p.Passes))
		for i := range outputs {
			outputs[i] = Noise(uint64(10+i), 64)
			moved[i] = slices.Clone(outputs[i])
			for k := range u {
				moved[i][k] += x[k] - u[k]
			}
		}
		v, err := p.Combine(at, outputs)
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.Combine(at, moved)
		if err != nil {
			t.Fatal(err)
		}
		for k := range v {
			if got := v[k] + (x[k] - u[k]); math.Abs(float64(got-want[k])) > 2e-5 {
				t.Fatalf("late %v: value %d is %v, want %v", late, k, got, want[k])
			}
		}
	}
}

// A run that goes on from a clone of both states, at any step, computes the same steps and ends in the same bits.
func TestReuseResumes(t *testing.T) {
	s := Table(20, 5)
	p := balanced(t, Variant17B, ModeTIA)
	type saved struct {
		solver State
		reuse  ReuseState
		x      []float32
	}
	var states []saved
	u, r, x := NewUniPC(s), &Reuse{Plan: p, Schedule: s}, Noise(3, 50)
	computed := denoise(t, u, r, x, func() { states = append(states, saved{u.Clone(), r.Clone(), slices.Clone(x)}) })
	if len(computed) > s.Steps-3 {
		t.Fatalf("only steps outside %v were spared", computed)
	}
	for step, from := range states {
		again := &Reuse{p, s, from.reuse}
		rest := denoise(t, &UniPC{Schedule: s, State: from.solver}, again, from.x, nil)
		want := slices.DeleteFunc(slices.Clone(computed), func(i int) bool { return i <= step })
		if diff := cmp.Diff(want, rest) + cmp.Diff(x, from.x) + cmp.Diff(r.Spared, again.Spared); diff != "" && len(want)+len(rest) > 0 {
			t.Errorf("resumed after step %d:\n%s", step, diff)
		}
	}
}

// Without a threshold nothing is kept and nothing spared.
func TestNoReuse(t *testing.T) {
	s := Table(10, 5)
	p, err := NewPlan(Variant17B, ModeTA, DefaultScales(Variant17B))
	if err != nil {
		t.Fatal(err)
	}
	r := &Reuse{Plan: p, Schedule: s}
	if n := len(denoise(t, NewUniPC(s), r, Noise(1, 8), nil)); n != 10 || r.Input != nil || r.Spared != 0 {
		t.Errorf("%d of 10 steps computed; %+v", n, r.ReuseState)
	}
}
