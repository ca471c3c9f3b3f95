package sampler

import (
	"fmt"
	"math"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Variant is a published HuMo model.
type Variant string

// Mode says what steers a clip besides the prompt: audio (TA), or audio and reference images (TIA).
type Mode string

// The published variants and the reference's modes.
const (
	Variant1_7B Variant = "1.7B"
	Variant17B  Variant = "17B"

	ModeTA  Mode = "TA"
	ModeTIA Mode = "TIA"
)

// Quality says whether a clip is guided as the reference does it, or made in a few unguided steps by a transformer that an
// adapter has distilled for that.
type Quality string

// Fast needs a distilled transformer, which exists for the 17B only. "" is Exact.
const (
	Exact Quality = "exact"
	Fast  Quality = "fast"
)

// The steps of a fast clip: what the adapters are distilled for, and what users of HuMo take.
const (
	FastSteps    = 6
	MinFastSteps = 4
	MaxFastSteps = 8
)

// DefaultStepChange is the timestep at and below which 17B-TIA's negative pass loses its image.
const DefaultStepChange = 980

// Scales are the guidance scales of a run.
type Scales struct {
	Text, Audio, Image float64
	StepChange         int // timestep of 17B-TIA's switch; unused elsewhere
}

// DefaultScales returns the scales of the reference's yaml for a variant. Spec §1.
func DefaultScales(v Variant) Scales {
	if v == Variant17B {
		return Scales{Text: 5.0, Audio: 5.5, StepChange: DefaultStepChange}
	}
	return Scales{Text: 7.5, Audio: 7.5, Image: 4.0, StepChange: DefaultStepChange}
}

// Text names the prompt that a pass is given.
type Text uint8

// The two prompts of a job.
const (
	Prompt Text = iota
	Negative
)

// Image says when a pass sees the reference images.
type Image uint8

// A pass sees the images never, always, or only while t > StepChange.
const (
	ImageNever Image = iota
	ImageAlways
	ImageAboveSwitch
)

// Injection is the way in which a variant's network is shown the reference images.
type Injection uint8

const (
	// InSlots (1.7B): before a pass, the last n_ref frames of the network's input are replaced by the images' latents,
	// or by zeros; the sampler's own latents stay as they are.
	InSlots Injection = iota
	// InChannels (17B): the condition y = [mask; zero-clip latents ++ the images' latents], or y_null with zero-clip
	// latents throughout, is concatenated to unmodified latents.
	InChannels
)

// Pass is one call of the network within a step. Without Audio it is given the all-zero audio windows.
type Pass struct {
	Name  string
	Text  Text
	Audio bool
	Image Image
}

// Condition is a Pass resolved for one timestep.
type Condition struct {
	Text  Text
	Audio bool
	Image bool // the images' latents; else zeros in the slots (1.7B) or y_null (17B)
}

// Plan is the guidance of one variant and mode: the passes in the reference's call order, and the sum
//
//	Σ weight·(output[Of] - output[Minus]) + output[Base]
//
// with its terms in the reference's order. Calls per step, cost and cancellation points are read off Passes.
type Plan struct {
	Variant   Variant
	Mode      Mode
	Quality   Quality
	Injection Injection
	Passes    []Pass
	Terms     []Term
	Base      int // pass whose output the terms are added to
	Scales    Scales
}

// Term is one guided difference; Of and Minus index Passes.
type Term struct {
	Weight    Weight
	Of, Minus int
}

// Weight names the scale of a term.
type Weight uint8

// Text, audio and image scale. TextScaleLowered is the text scale less 2 once t <= StepChange.
const (
	TextScale Weight = iota
	TextScaleLowered
	AudioScale
	ImageScale
)

// plans are HuMo's four rows (spec §8.3), and the two of the distilled 17B: guidance is distilled into its weights, so one
// pass with all conditions is the velocity.
var plans = []Plan{
	{
		Variant: Variant1_7B, Mode: ModeTA, Quality: Exact, Injection: InSlots,
		Passes: []Pass{
			{"neg", Negative, false, ImageNever},
			{"t", Prompt, false, ImageNever},
			{"ta", Prompt, true, ImageNever},
		},
		Terms: []Term{{AudioScale, 2, 1}, {TextScale, 1, 0}}, Base: 0,
	},
	{
		Variant: Variant1_7B, Mode: ModeTIA, Quality: Exact, Injection: InSlots,
		Passes: []Pass{
			{"neg", Negative, false, ImageNever},
			{"t", Prompt, false, ImageNever},
			{"ta", Prompt, true, ImageNever},
			{"tia", Prompt, true, ImageAlways},
		},
		Terms: []Term{{ImageScale, 3, 2}, {AudioScale, 2, 1}, {TextScale, 1, 0}}, Base: 0,
	},
	{
		Variant: Variant17B, Mode: ModeTA, Quality: Exact, Injection: InChannels,
		Passes: []Pass{
			{"ta", Prompt, true, ImageNever},
			{"t", Prompt, false, ImageNever},
			{"neg", Negative, false, ImageNever},
		},
		Terms: []Term{{AudioScale, 0, 1}, {TextScale, 1, 2}}, Base: 2,
	},
	{
		Variant: Variant17B, Mode: ModeTIA, Quality: Exact, Injection: InChannels,
		Passes: []Pass{
			{"tia", Prompt, true, ImageAlways},
			{"ti", Prompt, false, ImageAlways},
			{"neg", Negative, false, ImageAboveSwitch},
		},
		Terms: []Term{{AudioScale, 0, 1}, {TextScaleLowered, 1, 2}}, Base: 2,
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

// NewPlanOf returns the row of a quality, variant and mode, with the run's scales, which a fast one does not read.
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
	if q != Exact && q != Fast {
		return nil, fault.New("invalid_input", "quality", "%q is unknown; use %q or %q", q, Exact, Fast)
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
		if row.Variant == v && row.Mode == m && row.Quality == q {
			row.Scales = s
			return &row, nil
		}
	}
	return nil, fault.New("invalid_input", "quality", "%q is for the %s only: no distilled adapter exists for the %s; use variant %q, or quality %q", q, Variant17B, v, Variant17B, Exact)
}

// Conditions returns what each pass is given at timestep t, in call order.
func (p *Plan) Conditions(t int64) []Condition {
	out := make([]Condition, len(p.Passes))
	for i, pass := range p.Passes {
		image := pass.Image == ImageAlways || pass.Image == ImageAboveSwitch && p.aboveSwitch(t)
		out[i] = Condition{Text: pass.Text, Audio: pass.Audio, Image: image}
	}
	return out
}

// aboveSwitch: equality belongs to the lower branch.
func (p *Plan) aboveSwitch(t int64) bool { return t > int64(p.Scales.StepChange) }

// weight is the term's factor at t, rounded to float32 as torch rounds a Python number that meets a tensor.
func (p *Plan) weight(w Weight, t int64) float32 {
	switch w {
	case AudioScale:
		return float32(p.Scales.Audio)
	case ImageScale:
		return float32(p.Scales.Image)
	case TextScaleLowered:
		if !p.aboveSwitch(t) {
			return float32(p.Scales.Text - 2.0)
		}
	}
	return float32(p.Scales.Text)
}

// Combine returns the guided velocity at timestep t. outputs holds one velocity per pass, in call order, all of the
// same length; none of them is changed.
func (p *Plan) Combine(t int64, outputs [][]float32) ([]float32, error) {
	if len(outputs) != len(p.Passes) {
		return nil, fmt.Errorf("sampler: %s %s takes %d outputs, not %d", p.Variant, p.Mode, len(p.Passes), len(outputs))
	}
	base := outputs[p.Base]
	for i, o := range outputs {
		if len(o) != len(base) {
			return nil, fmt.Errorf("sampler: output %q has %d values, %q has %d", p.Passes[i].Name, len(o), p.Passes[p.Base].Name, len(base))
		}
	}
	sum := make([]float32, len(base))
	for i, term := range p.Terms {
		w, of, minus := p.weight(term.Weight, t), outputs[term.Of], outputs[term.Minus]
		for k := range sum {
			d := float32(w * (of[k] - minus[k]))
			if i > 0 {
				d = sum[k] + d
			}
			sum[k] = d
		}
	}
	for k := range sum {
		sum[k] += base[k]
	}
	return sum, nil
}
