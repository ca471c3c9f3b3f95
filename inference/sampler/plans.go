package sampler

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Quality says how much of the reference's work a clip gets.
type Quality string

// "" is Exact. Fast needs a distilled transformer, which exists for the 17B only.
const (
	Exact    Quality = "exact"    // as the reference does it
	Balanced Quality = "balanced" // late steps without the negative prompt, and no step that is told well enough by earlier ones
	Fast     Quality = "fast"     // a few unguided steps of a transformer that an adapter has distilled for that
)

// The steps of a fast clip: what the adapters are distilled for, and what users of HuMo take.
const (
	FastSteps    = 6
	MinFastSteps = 4
	MaxFastSteps = 8
)

// BalancedGate is the timestep at and below which a balanced clip is not guided away from the negative prompt: the text
// term gets the weight 1, in which the negative pass cancels out. The audio's and the pictures' terms stay, for lips and
// faces are what a clip is made for; HuMo's own guidance of the 17B, too, lowers only the text's weight (spec §8.3).
//
// Castillo et al. 2023 (Adaptive Guidance, arXiv:2312.12487) leave the unguided pass out of the second half of the steps,
// where it points the same way as the guided one; half of their schedule's steps is at a noise level of 0.62 of flow
// matching. Kynkäänniemi et al. 2024 (arXiv:2404.07724) find that guidance at low noise changes next to nothing.
const BalancedGate = 600

// plans are HuMo's four rows (spec §8.3), which a balanced clip has too, with their late sums; and the two of the
// distilled 17B: guidance is distilled into its weights, so one pass with all conditions is the velocity.
var plans = []Plan{
	{
		Variant: Variant1_7B, Mode: ModeTA, Quality: Exact, Injection: InSlots,
		Passes: []Pass{
			{"neg", Negative, false, ImageNever},
			{"t", Prompt, false, ImageNever},
			{"ta", Prompt, true, ImageNever},
		},
		Sum:  Sum{[]Term{{AudioScale, 2, 1}, {TextScale, 1, 0}}, 0},
		Late: Sum{[]Term{{AudioScale, 2, 1}}, 1},
	},
	{
		Variant: Variant1_7B, Mode: ModeTIA, Quality: Exact, Injection: InSlots,
		Passes: []Pass{
			{"neg", Negative, false, ImageNever},
			{"t", Prompt, false, ImageNever},
			{"ta", Prompt, true, ImageNever},
			{"tia", Prompt, true, ImageAlways},
		},
		Sum:  Sum{[]Term{{ImageScale, 3, 2}, {AudioScale, 2, 1}, {TextScale, 1, 0}}, 0},
		Late: Sum{[]Term{{ImageScale, 3, 2}, {AudioScale, 2, 1}}, 1},
	},
	{
		Variant: Variant17B, Mode: ModeTA, Quality: Exact, Injection: InChannels,
		Passes: []Pass{
			{"ta", Prompt, true, ImageNever},
			{"t", Prompt, false, ImageNever},
			{"neg", Negative, false, ImageNever},
		},
		Sum:  Sum{[]Term{{AudioScale, 0, 1}, {TextScale, 1, 2}}, 2},
		Late: Sum{[]Term{{AudioScale, 0, 1}}, 1},
	},
	{
		Variant: Variant17B, Mode: ModeTIA, Quality: Exact, Injection: InChannels,
		Passes: []Pass{
			{"tia", Prompt, true, ImageAlways},
			{"ti", Prompt, false, ImageAlways},
			{"neg", Negative, false, ImageAboveSwitch},
		},
		Sum:  Sum{[]Term{{AudioScale, 0, 1}, {TextScaleLowered, 1, 2}}, 2},
		Late: Sum{[]Term{{AudioScale, 0, 1}}, 1},
	},
	{
		Variant: Variant17B, Mode: ModeTA, Quality: Fast, Injection: InChannels,
		Passes: []Pass{{"ta", Prompt, true, ImageNever}},
	},
	{
		Variant: Variant17B, Mode: ModeTIA, Quality: Fast, Injection: InChannels,
		Passes: []Pass{{"tia", Prompt, true, ImageAlways}},
	},
}

// NewPlan returns the row of a variant and mode in exact quality, with the run's scales.
func NewPlan(v Variant, m Mode, s Scales) (*Plan, error) { return NewPlanOf(Exact, v, m, s) }

// NewPlanOf returns the plan of a quality, variant and mode, with the run's scales, which a fast one does not read.
func NewPlanOf(q Quality, v Variant, m Mode, s Scales) (*Plan, error) {
	if v != Variant1_7B && v != Variant17B {
		return nil, fault.New("invalid_input", "variant", "%q is unknown; use %q or %q", v, Variant1_7B, Variant17B)
	}
	if m != ModeTA && m != ModeTIA {
		return nil, fault.New("invalid_input", "mode", "%q is unknown; use %q or %q", m, ModeTA, ModeTIA)
	}
	if q == "" {
		q = Exact
	}
	if q != Exact && q != Balanced && q != Fast {
		return nil, fault.New("invalid_input", "quality", "%q is unknown; use %q, %q or %q", q, Exact, Balanced, Fast)
	}
	for _, scale := range []struct {
		field string
		value float64
	}{{"scale_t", s.Text}, {"scale_a", s.Audio}, {"scale_i", s.Image}} {
		if math.IsNaN(scale.value) || math.IsInf(scale.value, 0) {
			return nil, fault.New("invalid_input", scale.field, "%v is not a finite number", scale.value)
		}
	}
	for _, row := range plans {
		if row.Variant != v || row.Mode != m || (row.Quality == Fast) != (q == Fast) {
			continue
		}
		row.Quality, row.Scales = q, s
		if q == Balanced {
			row.Gate, row.Threshold = BalancedGate, BalancedThreshold
		}
		return &row, nil
	}
	return nil, fault.New("invalid_input", "quality", "%q is for the %s only: no distilled adapter exists for the %s; use variant %q, or quality %q or %q",
		q, Variant17B, v, Variant17B, Exact, Balanced)
}
