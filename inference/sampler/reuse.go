package sampler

import (
	"math"
	"slices"
)

// BalancedThreshold is the error of a reused velocity, relative to its size, that may be predicted before a balanced clip
// computes the step: the authors' setting for Wan 2.1.
const BalancedThreshold = 0.05

// warmupPart is the part of the steps, a fifth, that is always computed: 10 of 50, as the authors have it. The large forms
// are decided there, and velocities change unevenly.
const warmupPart = 5

// Reuse spares steps whose velocity can be told from the last computed one, after EasyCache (Zhou et al. 2025, "Less is
// Enough: Training-Free Video Diffusion Acceleration via Runtime-Adaptive Caching", arXiv:2507.02860). It is an online rule,
// without a table that somebody must have calibrated for the model:
//
//   - What is reused is the transformation v - u of the last computed step, from latents u to velocity v. So a spared step
//     with latents x has the velocity x + (v - u).
//   - At a computed step, k = mean|change of the transformation| / mean|change of latents| since the computed step before.
//   - Before each further step the predicted error k·mean|change of latents| / mean|v| is added up. While the sum is below
//     Plan.Threshold, the step is spared.
//   - The first fifth of the steps and the last step are computed, and the first step after the plan has changed its sum.
//
// Two things differ from the authors' text. Their k is of the velocity's change, which says little about the error where the
// path is straight: there the velocity stands still and the reused one does not. And they reuse each pass for itself; here v
// is the guided velocity: as a Sum's coefficients add up to 1, both give the same, and one pair of arrays is kept instead of
// one for each pass.
//
// All sums run over float64 in the order of the values, so what is decided depends on latents and velocities only, not on
// the number of threads or devices.
type Reuse struct {
	Plan     *Plan
	Schedule *Schedule
	ReuseState
}

// ReuseState is all that Reuse remembers between two steps.
type ReuseState struct {
	Input    []float32 // latents of the last computed step; nil: none was
	Velocity []float32 // its velocity
	Before   []float32 // latents of the last step, computed or not
	Timestep int64     // of Input
	Rate     float64   // k; 0: not known
	Error    float64   // predicted, gathered since Input
	Spared   int       // passes that were not run, up to now
}

// Clone returns a copy that later steps do not touch.
func (s ReuseState) Clone() ReuseState {
	s.Input, s.Velocity, s.Before = slices.Clone(s.Input), slices.Clone(s.Velocity), slices.Clone(s.Before)
	return s
}

// Predict returns the velocity of a step from latents x, or false if it must be computed; then Computed is told the result.
// It is called once for each step, in order.
func (r *Reuse) Predict(step int, x []float32) ([]float32, bool) {
	if r.Plan.Threshold <= 0 || len(r.Input) != len(x) {
		return nil, false
	}
	r.Error += r.Rate * meanDistance(x, r.Before) / meanSize(r.Velocity)
	r.Before = slices.Clone(x)
	t := r.Schedule.Timesteps[step]
	switch {
	case step*warmupPart < r.Schedule.Steps, step == r.Schedule.Steps-1,
		r.Rate == 0, !r.Plan.alike(t, r.Timestep),
		!(r.Error < r.Plan.Threshold): // so that NaN is computed
		return nil, false
	}
	v := make([]float32, len(x))
	for i := range v {
		v[i] = r.Velocity[i] + (x[i] - r.Input[i])
	}
	r.Spared += len(r.Plan.Conditions(t))
	return v, true
}

// Computed notes the guided velocity of a step at latents x. It keeps velocity and copies x.
func (r *Reuse) Computed(step int, x, velocity []float32) {
	if r.Plan.Threshold <= 0 {
		return
	}
	r.Rate = 0
	if len(r.Input) == len(x) {
		if k := meanTurn(x, velocity, r.Input, r.Velocity) / meanDistance(x, r.Input); k > 0 && !math.IsInf(k, 0) {
			r.Rate = k
		}
	}
	r.Input, r.Velocity, r.Error = slices.Clone(x), velocity, 0
	r.Before, r.Timestep = r.Input, r.Schedule.Timesteps[step]
}

// meanTurn is the mean change of the transformation from u to v to that from x to w.
func meanTurn(x, w, u, v []float32) float64 {
	sum := 0.0
	for i := range x {
		sum += math.Abs((float64(w[i]) - float64(x[i])) - (float64(v[i]) - float64(u[i])))
	}
	return sum / float64(len(x))
}

func meanDistance(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += math.Abs(float64(a[i]) - float64(b[i]))
	}
	return sum / float64(len(a))
}

func meanSize(a []float32) float64 {
	sum := 0.0
	for _, v := range a {
		sum += math.Abs(float64(v))
	}
	return sum / float64(len(a))
}
