package sampler

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Late in a balanced clip the negative pass does not run, and the others have the weights that its pass at text scale 1 gives.
func TestBalancedPlans(t *testing.T) {
	for _, c := range []struct {
		variant Variant
		mode    Mode
		passes  []int     // that run late
		weights []float32 // net, of all passes, late
		calls   int       // of 50 steps at shift 5, of which 11 are late
	}{
		{Variant1_7B, ModeTA, []int{1, 2}, []float32{0, 1 - 7.5, 7.5}, 3*50 - 11},
		{Variant1_7B, ModeTIA, []int{1, 2, 3}, []float32{0, 1 - 7.5, 7.5 - 4, 4}, 4*50 - 11},
		{Variant17B, ModeTA, []int{0, 1}, []float32{5.5, 1 - 5.5, 0}, 3*50 - 11},
		{Variant17B, ModeTIA, []int{0, 1}, []float32{5.5, 1 - 5.5, 0}, 3*50 - 11},
	} {
		p, err := NewPlanOf(Balanced, c.variant, c.mode, DefaultScales(c.variant))
		if err != nil {
			t.Fatal(err)
		}
		exact, err := NewPlan(c.variant, c.mode, DefaultScales(c.variant))
		if err != nil {
			t.Fatal(err)
		}
		for _, early := range []int64{999, 981, 980, 601} {
			if diff := cmp.Diff(exact.Conditions(early), p.Conditions(early)); diff != "" {
				t.Errorf("%s %s at %d:\n%s", c.variant, c.mode, early, diff)
			}
		}
		for _, late := range []int64{600, 1} {
			var passes []int
			outputs := make([][]float32, len(p.Passes)) // nil where a pass does not run
			for _, k := range p.Conditions(late) {
				passes, outputs[k.Pass] = append(passes, k.Pass), []float32{0}
			}
			var weights []float32
			for i := range p.Passes {
				if outputs[i] == nil {
					weights = append(weights, 0)
					continue
				}
				outputs[i][0] = 1
				sum, err := p.Combine(late, outputs)
				if err != nil {
					t.Fatal(err)
				}
				weights, outputs[i][0] = append(weights, sum[0]), 0
			}
			if diff := cmp.Diff(c.passes, passes) + cmp.Diff(c.weights, weights); diff != "" {
				t.Errorf("%s %s at %d:\n%s", c.variant, c.mode, late, diff)
			}
			if len(exact.Conditions(late)) != len(exact.Passes) {
				t.Errorf("%s %s at %d: an exact clip leaves passes out", c.variant, c.mode, late)
			}
		}
		s := Table(50, 5)
		if got := p.Calls(s, 1); got != c.calls {
			t.Errorf("%s %s: %d calls, want %d", c.variant, c.mode, got, c.calls)
		}
		if got := exact.Calls(s, 1); got != 50*len(exact.Passes) {
			t.Errorf("%s %s: %d exact calls", c.variant, c.mode, got)
		}
		if got := p.Calls(s, 8); got != 50 {
			t.Errorf("%s %s: %d calls one after the other on 8 lanes, want 50", c.variant, c.mode, got)
		}
	}
}

// Every plan's coefficients add up to 1, early and late: Reuse rests on that.
func TestCoefficientsAddUpToOne(t *testing.T) {
	for _, row := range plans {
		for _, q := range []Quality{Exact, Balanced} {
			if row.Quality == Fast {
				q = Fast
			}
			p, err := NewPlanOf(q, row.Variant, row.Mode, DefaultScales(row.Variant))
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []int64{999, 700, 10} {
				outputs := make([][]float32, len(p.Passes))
				for _, c := range p.Conditions(at) {
					outputs[c.Pass] = []float32{1}
				}
				if sum, err := p.Combine(at, outputs); err != nil || sum[0] != 1 {
					t.Errorf("%s %s %s at %d: %v, %v", q, p.Variant, p.Mode, at, sum, err)
				}
			}
		}
	}
}

func TestUses(t *testing.T) {
	for q, want := range map[Quality]bool{Exact: true, Balanced: true, Fast: false} {
		p, err := NewPlanOf(q, Variant17B, ModeTA, DefaultScales(Variant17B))
		if err != nil || p.Uses(Negative) != want || !p.Uses(Prompt) {
			t.Errorf("%s uses the negative prompt: %v, error %v", q, !want, err)
		}
	}
}

// Passes with the same latents are neighbours on every lane of every plan, at every timestep: what they share is computed once a step
// and freed before that of others is there.
func TestPassesOfTheSameLatentsAreNeighbours(t *testing.T) {
	for _, row := range plans {
		row.Scales = DefaultScales(row.Variant)
		for _, row.Gate = range []int64{0, BalancedGate} {
			for _, at := range []int64{999, DefaultStepChange + 1, DefaultStepChange, BalancedGate, 1} {
				for lanes := 1; lanes <= len(row.Passes); lanes++ {
					seen := map[int][]bool{} // what each lane is given for latents, in order
					for _, c := range row.Conditions(at) {
						lane := c.Pass % lanes
						if n := len(seen[lane]); n == 0 || seen[lane][n-1] != c.Image {
							seen[lane] = append(seen[lane], c.Image)
						}
					}
					for lane, images := range seen {
						if len(images) > 2 {
							t.Errorf("%s %s at %d, lane %d of %d: the latents change as %v", row.Variant, row.Mode, at, lane, lanes, images)
						}
					}
				}
			}
		}
	}
}
