package inference

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/sampler"
)

// balancedClip is an engine and a clip of which it spares some steps: the velocities of the golden weights, which are random,
// change so much from step to step that it takes another threshold.
func balancedClip(t *testing.T) (*Engine, Spec) {
	t.Helper()
	e, s := openEngine(t), spec(t)
	e.guide = func(p *sampler.Plan) {
		if p.Threshold > 0 {
			p.Threshold = 1
		}
	}
	s.Quality, s.Steps, s.Frames = Balanced, 24, 5
	return e, s
}

// A balanced clip says what became of its passes; progress counts to the plan's calls; fewer run than in an exact one.
func TestBalanced(t *testing.T) {
	e, s := balancedClip(t)
	var last Progress
	clip, err := e.Generate(t.Context(), s, func(p Progress) {
		if p.Stage != StageDenoise {
			return
		}
		if p.Steps > 0 && p.Step != last.Step+1 && p.Step != 0 {
			t.Errorf("progress went from %d to %d", last.Step, p.Step)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	p := clip.Passes
	t.Logf("%+v", p)
	cost, err := e.Estimate(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if p.Run+p.Reused+p.Gated != 4*s.Steps || p.Reused < 3*3 || p.Gated < 3 {
		t.Errorf("passes %+v", p)
	}
	if want := p.Run + p.Reused; cost.Calls != want || last.Step != want || last.Steps != want || cost.Passes != 4 {
		t.Errorf("%d calls were estimated, progress ended at %d of %d; want %d", cost.Calls, last.Step, last.Steps, want)
	}
	s.Quality = Exact
	exact, err := e.Generate(t.Context(), s, ignore)
	if err != nil {
		t.Fatal(err)
	}
	if exact.Passes != (Passes{Run: 4 * s.Steps}) {
		t.Errorf("an exact clip: %+v", exact.Passes)
	}
	if full, err := e.Estimate(t.Context(), s); err != nil || full.Calls != 4*s.Steps || math.Abs(full.FLOP/cost.FLOP-float64(full.Calls)/float64(cost.Calls)) > 1e-9 {
		t.Errorf("estimates %+v and %+v, error %v", full, cost, err)
	}
}

// What is spared depends neither on the number of devices nor on a break: the latents have the same bits, and so has the count.
func TestBalancedIsTheSameClip(t *testing.T) {
	e, s := balancedClip(t)
	var states [][]byte
	s.SaveEvery, s.Save = 5, func(c *Checkpoint) {
		data, err := c.MarshalBinary()
		if err != nil {
			t.Error(err)
		}
		states = append(states, data)
	}
	in, err := Decode(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	run := func(s Spec) ([]float32, Passes) {
		t.Helper()
		z, how, err := e.denoise(t.Context(), &s, in, func(Stage) func(int, int) { return func(int, int) {} })
		if err != nil {
			t.Fatal(err)
		}
		return z.Data, how.passes
	}
	want, passes := run(s)
	s.Save = nil
	one := e.devices
	e.devices = []*device{cpu(checkpoint.F32), cpu(checkpoint.F32), cpu(checkpoint.F32)}
	if got, p := run(s); !slices.Equal(got, want) || p != passes {
		t.Errorf("three devices: other numbers, or %+v in place of %+v", p, passes)
	}
	e.devices = one
	if len(states) != 4 {
		t.Fatalf("%d checkpoints", len(states))
	}
	for i, data := range states {
		s.Resume = new(Checkpoint)
		if err := s.Resume.UnmarshalBinary(data); err != nil {
			t.Fatal(err)
		}
		if got, p := run(s); !slices.Equal(got, want) || p != passes {
			t.Errorf("checkpoint %d: other numbers, or %+v in place of %+v", i, p, passes)
		}
	}
	s.Quality = Exact // its checkpoints are another clip's
	if got, p := run(s); slices.Equal(got, want) || p.Run != 4*s.Steps {
		t.Errorf("an exact clip went on from a balanced one's checkpoint: %+v", p)
	}
}

// A fast clip's plan has no negative prompt, and none is encoded: one that could not be is no matter.
func TestFastEncodesNoNegativePrompt(t *testing.T) {
	e := openEngine(t)
	m, err := e.Models(Variant17B)
	if err != nil {
		t.Fatal(err)
	}
	s := spec(t)
	for range 600 {
		s.NegativePrompt += " 7"
	}
	for q, works := range map[Quality]bool{Fast: true, Balanced: false, Exact: false} {
		guidance, err := sampler.NewPlanOf(q, Variant17B, TIA, sampler.DefaultScales(Variant17B))
		if err != nil {
			t.Fatal(err)
		}
		steps := 0
		_, negative, err := m.embedPrompts(t.Context(), &s, guidance, func(_, total int) { steps = total })
		if (err == nil) != works || negative != nil || works && steps != 1 {
			t.Errorf("%s: %v, %d steps", q, err, steps)
		}
	}
}

// Time inside the library is a part of the stages' time.
func TestComputeTime(t *testing.T) {
	clip, err := openEngine(t).Generate(t.Context(), spec(t), ignore)
	if err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, seconds := range clip.Timings {
		total += seconds
	}
	if clip.Compute <= 0 || clip.Compute >= total {
		t.Errorf("%g s in the library of %g s", clip.Compute, total)
	}
	t.Logf("%.3f s of %.3f s in the library", clip.Compute, total)
}

// A cancelled balanced clip ends between two spared steps as well.
func TestCancelBetweenSparedSteps(t *testing.T) {
	e, s := balancedClip(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steps := 0
	s.PreviewEvery = 0
	_, err := e.Generate(ctx, s, func(p Progress) {
		if p.Stage == StageDenoise && ctx.Err() != nil {
			steps++
		}
		if p.Stage == StageDenoise && p.Step == p.Steps/2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || steps > 4 {
		t.Errorf("%v after %d more passes", err, steps)
	}
}
