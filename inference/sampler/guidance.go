package sampler

import "fmt"

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
	Pass  int // its place in the plan
	Text  Text
	Audio bool
	Image bool // the images' latents; else zeros in the slots (1.7B) or y_null (17B)
}

// Plan is the guidance of one variant, mode and quality: the passes in the reference's call order, and how their outputs
// become a velocity. Calls, cost, progress and cancellation points are read off it.
type Plan struct {
	Variant   Variant
	Mode      Mode
	Quality   Quality
	Injection Injection
	Passes    []Pass
	Sum               // of all passes
	Late      Sum     // of fewer passes, for the timesteps at and below Gate: what it does not read is not run
	Gate      int64   // 0: Late is never used
	Threshold float64 // of Reuse; 0: every step is computed
	Scales    Scales
}

// Sum is the guided velocity
//
//	Σ weight·(output[Of] - output[Minus]) + output[Base]
//
// with its terms in the reference's order. Its coefficients add up to 1.
type Sum struct {
	Terms []Term
	Base  int // pass whose output the terms are added to
}

// reads reports whether the sum needs a pass.
func (s Sum) reads(pass int) bool {
	for _, t := range s.Terms {
		if t.Of == pass || t.Minus == pass {
			return true
		}
	}
	return s.Base == pass
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

// Conditions returns the passes that run at timestep t and what each is given, in call order.
func (p *Plan) Conditions(t int64) []Condition {
	var out []Condition
	for i, pass := range p.Passes {
		if p.late(t) && !p.Late.reads(i) {
			continue
		}
		image := pass.Image == ImageAlways || pass.Image == ImageAboveSwitch && p.aboveSwitch(t)
		out = append(out, Condition{Pass: i, Text: pass.Text, Audio: pass.Audio, Image: image})
	}
	return out
}

// Uses reports whether a pass of the plan is given a prompt.
func (p *Plan) Uses(text Text) bool {
	for _, pass := range p.Passes {
		if pass.Text == text {
			return true
		}
	}
	return false
}

// Calls is the number of passes that run one after the other in a whole schedule: pass i runs on lane i modulo lanes, and
// a step ends with its last lane. On one lane it is the number of all passes. Steps that Reuse spares count as if they ran.
func (p *Plan) Calls(s *Schedule, lanes int) int {
	total := 0
	for _, t := range s.Timesteps {
		busy, most := make([]int, lanes), 0
		for _, c := range p.Conditions(t) {
			busy[c.Pass%lanes]++
			most = max(most, busy[c.Pass%lanes])
		}
		total += most
	}
	return total
}

// late: equality belongs to the lower branch, as with the switch.
func (p *Plan) late(t int64) bool { return p.Gate > 0 && t <= p.Gate }

// alike reports whether the velocities of two timesteps are the same sum of the same passes.
func (p *Plan) alike(t, u int64) bool {
	return p.late(t) == p.late(u) && p.aboveSwitch(t) == p.aboveSwitch(u)
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
// same length; those of passes that do not run at t are not looked at. None of them is changed.
func (p *Plan) Combine(t int64, outputs [][]float32) ([]float32, error) {
	if len(outputs) != len(p.Passes) {
		return nil, fmt.Errorf("sampler: %s %s takes %d outputs, not %d", p.Variant, p.Mode, len(p.Passes), len(outputs))
	}
	guided := p.Sum
	if p.late(t) {
		guided = p.Late
	}
	base := outputs[guided.Base]
	for _, c := range p.Conditions(t) {
		if o := outputs[c.Pass]; len(o) != len(base) {
			return nil, fmt.Errorf("sampler: output %q has %d values, %q has %d", p.Passes[c.Pass].Name, len(o), p.Passes[guided.Base].Name, len(base))
		}
	}
	sum := make([]float32, len(base))
	for i, term := range guided.Terms {
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
