package sampler

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func TestTableEqualsReference(t *testing.T) {
	g := goldentest.Open(t, "unipc")
	var tables [][2]float64
	g.Setting(t, "tables", &tables)
	if len(tables) == 0 {
		t.Fatal("no tables in the golden case")
	}
	for _, c := range tables {
		name := fmt.Sprintf("s%d_shift%v", int(c[0]), c[1])
		t.Run(name, func(t *testing.T) {
			s := Table(int(c[0]), c[1])
			g.Near(t, "out.sigmas_"+name, s.Sigmas)
			if diff := cmp.Diff(g.Ints(t, "out.timesteps_"+name), s.Timesteps); diff != "" {
				t.Errorf("timesteps (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(g.Ints(t, "out.start_index_"+name), []int64{int64(s.Start)}); diff != "" {
				t.Errorf("start (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTableOfFourSteps(t *testing.T) {
	if diff := cmp.Diff([]int64{999, 937, 833, 624}, Table(4, 5).Timesteps); diff != "" {
		t.Error(diff)
	}
}

func TestNewScheduleRefuses(t *testing.T) {
	for _, c := range []struct {
		steps int
		shift float64
		field string
		says  string
	}{
		{0, 5, "steps", "1 to 1000"},
		{-3, 5, "steps", "1 to 1000"},
		{1001, 1, "steps", "1 to 1000"},
		{math.MaxInt, 1, "steps", "1 to 1000"},
		{251, 5, "steps", "at most 250"},
		{300, 5, "steps", "at most 250"},
		{501, 3, "steps", "at most 500"},
		{50, 0, "shift", "0.1 to 100"},
		{50, -1, "shift", "0.1 to 100"},
		{50, 100.5, "shift", "0.1 to 100"},
		{50, math.NaN(), "shift", "0.1 to 100"},
		{50, math.Inf(1), "shift", "0.1 to 100"},
	} {
		s, err := NewSchedule(c.steps, c.shift)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || s != nil {
			t.Errorf("%d steps, shift %v: got %v, %v; want a fault", c.steps, c.shift, s, err)
			continue
		}
		if f.Field != c.field || f.Code != "invalid_input" || !strings.Contains(f.Message, c.says) {
			t.Errorf("%d steps, shift %v: %q %q %q; want field %q and %q", c.steps, c.shift, f.Code, f.Field, f.Message, c.field, c.says)
		}
	}
}

// Every schedule that is accepted can be run: it falls strictly, ends at 0 and keeps the solver's scalars finite.
func TestEveryAcceptedScheduleIsUsable(t *testing.T) {
	for _, shift := range []float64{MinShift, 0.5, 1, 3, 5, 8, 17, 50, MaxShift} {
		accepted := 0
		for steps := 1; steps <= MaxSteps; steps++ {
			if Table(steps, shift).Start != 0 {
				continue
			}
			s, err := NewSchedule(steps, shift)
			if err != nil {
				t.Fatal(err)
			}
			accepted = steps
			for i := range s.Steps {
				if !(s.Sigmas[i] > s.Sigmas[i+1]) || s.Sigmas[i] >= 1 {
					t.Fatalf("%d steps, shift %v: sigma %d is %v, then %v", steps, shift, i, s.Sigmas[i], s.Sigmas[i+1])
				}
			}
			if s.Sigmas[s.Steps] != 0 || s.Start != 0 {
				t.Fatalf("%d steps, shift %v: ends at %v, starts at %d", steps, shift, s.Sigmas[s.Steps], s.Start)
			}
			if steps%50 > 2 {
				continue
			}
			u, x := NewUniPC(s), []float32{0.7}
			for !u.Done() {
				if err := u.Advance(x, []float32{0.3 * x[0]}); err != nil {
					t.Fatal(err)
				}
			}
			if f := float64(x[0]); math.IsNaN(f) || math.Abs(f) > 10 {
				t.Fatalf("%d steps, shift %v: ends at %v", steps, shift, f)
			}
		}
		t.Logf("shift %v: up to %d steps", shift, accepted)
		if accepted < 2 {
			t.Errorf("shift %v accepts only %d steps", shift, accepted)
		}
	}
}
