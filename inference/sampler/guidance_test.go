package sampler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// describe writes a pass as the golden case does.
func describe(p *Plan, c Condition) string {
	text := map[Text]string{Prompt: "prompt", Negative: "negative"}[c.Text]
	audio := map[bool]string{true: "audio", false: "zero"}[c.Audio]
	if p.Injection == InChannels {
		return fmt.Sprintf("text:%s audio:%s y:%s", text, audio, map[bool]string{true: "image", false: "null"}[c.Image])
	}
	return fmt.Sprintf("text:%s audio:%s ref:%s", text, audio, map[bool]string{true: "image", false: "zero"}[c.Image])
}

func TestPlansEqualReference(t *testing.T) {
	g := goldentest.Open(t, "guidance")
	var calls map[string][]string
	var timesteps map[string]int64
	var scales map[string]struct {
		Text       float64 `json:"scale_t"`
		Audio      float64 `json:"scale_a"`
		Image      float64 `json:"scale_i"`
		StepChange int     `json:"step_change"`
	}
	g.Setting(t, "calls", &calls)
	g.Setting(t, "timesteps", &timesteps)
	g.Setting(t, "scales", &scales)
	if len(calls) == 0 {
		t.Fatal("no calls in the golden case")
	}
	for name, want := range calls {
		t.Run(name, func(t *testing.T) {
			variant, mode, scale := Variant1_7B, ModeTA, scales["1_7b"]
			if strings.HasPrefix(name, "17b") {
				variant, scale = Variant17B, scales["17b"]
			}
			if strings.Contains(name, "tia") {
				mode = ModeTIA
			}
			p, err := NewPlan(variant, mode, Scales(scale))
			if err != nil {
				t.Fatal(err)
			}
			timestep, ok := timesteps[name]
			if !ok {
				timestep = 500
			}
			var got []string
			var outputs, before [][]float32
			for i, c := range p.Conditions(timestep) {
				got = append(got, describe(p, c))
				outputs = append(outputs, g.Floats(t, fmt.Sprintf("in.%s_%d", name, i)))
				before = append(before, slices.Clone(outputs[i]))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			combined, err := p.Combine(timestep, outputs)
			if err != nil {
				t.Fatal(err)
			}
			g.Near(t, "out."+name, combined)
			if diff := cmp.Diff(before, outputs); diff != "" {
				t.Errorf("Combine changed its inputs:\n%s", diff)
			}
		})
	}
}

func TestDefaultScales(t *testing.T) {
	want := map[Variant]Scales{
		Variant1_7B: {Text: 7.5, Audio: 7.5, Image: 4, StepChange: 980},
		Variant17B:  {Text: 5, Audio: 5.5, StepChange: 980},
	}
	for v, w := range want {
		if diff := cmp.Diff(w, DefaultScales(v)); diff != "" {
			t.Errorf("%s: %s", v, diff)
		}
	}
}

// Weights as numbers: one pass differs by 1, so Combine returns that pass's net weight.
func TestWeightsFollowTheTimestep(t *testing.T) {
	for _, c := range []struct {
		variant Variant
		mode    Mode
		t       int64
		want    []float32
	}{
		{Variant1_7B, ModeTA, 999, []float32{1 - 7.5, 0, 7.5}},
		{Variant1_7B, ModeTA, 10, []float32{1 - 7.5, 0, 7.5}},
		{Variant1_7B, ModeTIA, 999, []float32{1 - 7.5, 0, 7.5 - 4, 4}},
		{Variant1_7B, ModeTIA, 10, []float32{1 - 7.5, 0, 7.5 - 4, 4}},
		{Variant17B, ModeTA, 999, []float32{5.5, 5 - 5.5, 1 - 5}},
		{Variant17B, ModeTA, 10, []float32{5.5, 5 - 5.5, 1 - 5}},
		{Variant17B, ModeTIA, 981, []float32{5.5, 5 - 5.5, 1 - 5}},
		{Variant17B, ModeTIA, 980, []float32{5.5, 3 - 5.5, 1 - 3}},
		{Variant17B, ModeTIA, 979, []float32{5.5, 3 - 5.5, 1 - 3}},
	} {
		p, err := NewPlan(c.variant, c.mode, DefaultScales(c.variant))
		if err != nil {
			t.Fatal(err)
		}
		var got []float32
		for i := range p.Passes {
			outputs := make([][]float32, len(p.Passes))
			for k := range outputs {
				outputs[k] = make([]float32, 1)
			}
			outputs[i][0] = 1
			sum, err := p.Combine(c.t, outputs)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, sum[0])
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %s at %d (-want +got):\n%s", c.variant, c.mode, c.t, diff)
		}
	}
}

// A distilled model's plan, one pass and no terms, needs no code of its own.
func TestSinglePassPlan(t *testing.T) {
	p := &Plan{Passes: []Pass{{"tia", Prompt, true, ImageAlways}}}
	got, err := p.Combine(500, [][]float32{{1, -2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float32{1, -2, 3}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewPlanRefuses(t *testing.T) {
	good := DefaultScales(Variant17B)
	for _, c := range []struct {
		variant Variant
		mode    Mode
		scales  Scales
		field   string
	}{
		{"14B", ModeTA, good, "variant"},
		{"", ModeTA, good, "variant"},
		{Variant17B, "TI", good, "mode"},
		{Variant1_7B, "", good, "mode"},
		{Variant17B, ModeTA, Scales{Text: math.NaN()}, "scale_t"},
		{Variant17B, ModeTA, Scales{Audio: math.Inf(1)}, "scale_a"},
		{Variant1_7B, ModeTIA, Scales{Image: math.Inf(-1)}, "scale_i"},
	} {
		p, err := NewPlan(c.variant, c.mode, c.scales)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Field != c.field || p != nil {
			t.Errorf("%q %q %+v: got %v, %v; want a fault about %q", c.variant, c.mode, c.scales, p, err, c.field)
		}
	}
}

func TestCombineRefuses(t *testing.T) {
	p, err := NewPlan(Variant17B, ModeTA, DefaultScales(Variant17B))
	if err != nil {
		t.Fatal(err)
	}
	for name, outputs := range map[string][][]float32{
		"none": nil, "too few": {{1}, {1}}, "too many": {{1}, {1}, {1}, {1}}, "unequal": {{1}, {1, 2}, {1}},
	} {
		if sum, err := p.Combine(500, outputs); err == nil {
			t.Errorf("%s: got %v", name, sum)
		}
	}
}

// A fast clip is one pass with all conditions, and its output is the velocity.
func TestFastPlans(t *testing.T) {
	for mode, want := range map[Mode]Condition{ModeTA: {0, Prompt, true, false}, ModeTIA: {0, Prompt, true, true}} {
		p, err := NewPlanOf(Fast, Variant17B, mode, DefaultScales(Variant17B))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []int64{999, 980, 1} {
			if diff := cmp.Diff([]Condition{want}, p.Conditions(step)); diff != "" {
				t.Errorf("%s at %d (-want +got):\n%s", mode, step, diff)
			}
			got, err := p.Combine(step, [][]float32{{1, -2.5}})
			if err != nil || !slices.Equal(got, []float32{1, -2.5}) {
				t.Errorf("%s at %d: %v, %v", mode, step, got, err)
			}
		}
		if _, err := NewPlanOf(Fast, Variant1_7B, mode, DefaultScales(Variant1_7B)); fault.CodeOf(err) != "invalid_input" || !strings.Contains(err.Error(), "17B") {
			t.Errorf("fast 1.7B: %v", err)
		}
		if _, err := NewPlanOf("best", Variant17B, mode, DefaultScales(Variant17B)); fault.CodeOf(err) != "invalid_input" {
			t.Errorf("an unknown quality: %v", err)
		}
		exact, err := NewPlanOf("", Variant17B, mode, DefaultScales(Variant17B))
		if err != nil || len(exact.Passes) != 3 {
			t.Errorf("no quality: %+v, %v", exact, err)
		}
	}
}
