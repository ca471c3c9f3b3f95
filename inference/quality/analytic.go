package quality

import (
	"math"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/sampler"
)

// Analytic makes rows of a model that is no network but a formula: the velocity that a perfectly trained network would have
// if its data were normally distributed. Unlike random weights', it changes with latents and noise levels as a trained
// model's does, so that step reuse has something to work on. It has neither the details nor the decisions of a real one.
//
// The data have values independent of each other, whose variances fall like 1/i, and a mean for each set of conditions. The
// exact velocity at noise level σ is (x - E[x₀|x])/σ, with
//
//	E[x₀|x] = m + (1-σ)s²/((1-σ)²s²+σ²) · (x - (1-σ)m)
func Analytic(v inference.Variant, steps int) ([]Row, error) {
	var rows []Row
	var exact []float32
	for _, how := range []struct {
		name        string
		quality     inference.Quality
		steps       int
		gate, reuse bool
	}{
		{"exact", inference.Exact, steps, false, false},
		{"guidance gate alone", inference.Balanced, steps, true, false},
		{"step reuse alone", inference.Balanced, steps, false, true},
		{"balanced", inference.Balanced, steps, true, true},
		{"exact, half the steps", inference.Exact, half(steps), false, false},
	} {
		p, err := sampler.NewPlanOf(how.quality, v, inference.TA, sampler.DefaultScales(v))
		if err != nil {
			return nil, err
		}
		if !how.gate {
			p.Gate = 0
		}
		if !how.reuse {
			p.Threshold = 0
		}
		schedule, err := sampler.NewSchedule(how.steps, sampler.DefaultShift)
		if err != nil {
			return nil, err
		}
		x, spared, err := newNormal(p).denoise(schedule)
		if err != nil {
			return nil, err
		}
		if exact == nil {
			exact = x
		}
		planned := p.Calls(schedule, 1)
		rows = append(rows, Row{Name: how.name, Steps: how.steps, Latents: golden.RelativeL2(x, exact),
			Passes: inference.Passes{Run: planned - spared, Reused: spared, Gated: how.steps*len(p.Passes) - planned}})
	}
	return rows, nil
}

// normalModel is the formula, with the means of each pass.
type normalModel struct {
	plan     *sampler.Plan
	variance []float64
	means    [][]float32
}

// newNormal gives the passes means that differ by a tenth of the data's spread for each condition in which they differ.
func newNormal(p *sampler.Plan) *normalModel {
	const values = 4096
	m := &normalModel{plan: p}
	for i := range values {
		m.variance = append(m.variance, 4/float64(1+i))
	}
	text, audio := sampler.Noise(11, values), sampler.Noise(12, values)
	for _, pass := range p.Passes {
		mean := make([]float32, values)
		for i := range mean {
			spread := 0.1 * float32(math.Sqrt(m.variance[i]))
			if pass.Text == sampler.Prompt {
				mean[i] += spread * text[i]
			}
			if pass.Audio {
				mean[i] += spread * audio[i]
			}
		}
		m.means = append(m.means, mean)
	}
	return m
}

func (m *normalModel) velocity(pass int, sigma float64, x []float32) []float32 {
	v := make([]float32, len(x))
	for i := range v {
		signal, s2, mean := 1-sigma, m.variance[i], float64(m.means[pass][i])
		data := mean + signal*s2/(signal*signal*s2+sigma*sigma)*(float64(x[i])-signal*mean)
		v[i] = float32((float64(x[i]) - data) / sigma)
	}
	return v
}

// denoise runs the schedule and returns the data and the passes that were spared.
func (m *normalModel) denoise(s *sampler.Schedule) ([]float32, int, error) {
	x := sampler.Noise(1, len(m.variance))
	u, r := sampler.NewUniPC(s), &sampler.Reuse{Plan: m.plan, Schedule: s}
	for !u.Done() {
		v, spared := r.Predict(u.Step, x)
		if !spared {
			outputs := make([][]float32, len(m.plan.Passes))
			for _, c := range m.plan.Conditions(u.Timestep()) {
				outputs[c.Pass] = m.velocity(c.Pass, float64(s.Sigmas[u.Step]), x)
			}
			var err error
			if v, err = m.plan.Combine(u.Timestep(), outputs); err != nil {
				return nil, 0, err
			}
			r.Computed(u.Step, x, v)
		}
		if err := u.Advance(x, v); err != nil {
			return nil, 0, err
		}
	}
	return x, r.Spared, nil
}
