package inference

import (
	"slices"

	"github.com/humo-worker/humo-worker/inference/sampler"
)

// stepper is a solver that reports and saves what lies between two steps.
type stepper struct {
	*sampler.UniPC
	reuse       *sampler.Reuse
	spec        *Spec
	fingerprint string
}

// solver starts at the schedule's first step, or where Spec.Resume stands; then it puts that checkpoint's latents in place.
func (s *Spec) solver(guidance *sampler.Plan, schedule *sampler.Schedule, latents *Latent, in *Material, frames int,
	linear DType) (*stepper, error) {
	mark, err := fingerprint(s, in, frames, linear)
	if err != nil {
		return nil, err
	}
	p := &stepper{sampler.NewUniPC(schedule), &sampler.Reuse{Plan: guidance, Schedule: schedule}, s, mark}
	if s.Resume.fits(mark, schedule.Steps, len(latents.Data)) {
		copy(latents.Data, s.Resume.Latents)
		p.State, p.reuse.ReuseState = s.Resume.Solver.Clone(), s.Resume.Reuse.Clone()
	}
	return p, nil
}

// after shows and saves the state after a step; frames are those of the clip, without the reference frames.
func (p *stepper) after(latents *Latent, frames int) {
	if p.due(p.spec.PreviewEvery) && p.spec.Preview != nil {
		guess := &Latent{latents.Frames, latents.Height, latents.Width, p.Predictions[len(p.Predictions)-1]}
		p.spec.Preview(p.Step, preview(guess, frames/2))
	}
	if p.due(p.spec.SaveEvery) && p.spec.Save != nil {
		p.spec.Save(&Checkpoint{Fingerprint: p.fingerprint, Seed: p.spec.Seed, Latents: slices.Clone(latents.Data),
			Solver: p.Clone(), Reuse: p.reuse.Clone()})
	}
}

// passes says what became of the passes of a run that is done.
func (p *stepper) passes() Passes {
	guidance := p.reuse.Plan
	planned := guidance.Calls(p.Schedule, 1)
	return Passes{Run: planned - p.reuse.Spared, Reused: p.reuse.Spared, Gated: p.Schedule.Steps*len(guidance.Passes) - planned}
}

// due is true after every n-th step, but not after the last: then there is a clip.
func (p *stepper) due(n int) bool { return n > 0 && p.Step%n == 0 && !p.Done() }
