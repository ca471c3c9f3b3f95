package sampler

import (
	"fmt"
	"math"
	"slices"
)

// UniPC is the second-order UniPC predictor-corrector for flow matching (Zhao et al. 2023, B(h) = e^h - 1 version,
// data prediction). Spec §8.2. Every scalar is float32 and comes from the float32 sigma table, as in the reference.
//
// To resume a run, set State to a saved one (see State.Clone) and go on with the latents of that moment.
type UniPC struct {
	Schedule *Schedule
	State
}

// State is all that UniPC remembers between two steps, besides the latents, which belong to the caller.
type State struct {
	Step        int         // steps done; the next one starts from Sigmas[Step]
	Order       int         // order of the last predictor; 0 before the first step
	Predictions [][]float32 // data predictions (x - sigma·v) of the last one or two steps, newest last
	Corrected   []float32   // latents of the last step after its corrector, before its predictor
}

// NewUniPC returns a sampler at the first step of s.
func NewUniPC(s *Schedule) *UniPC { return &UniPC{Schedule: s} }

// Clone returns a copy that later steps do not touch.
func (s State) Clone() State {
	c := s
	c.Corrected = slices.Clone(s.Corrected)
	c.Predictions = make([][]float32, len(s.Predictions))
	for i, p := range s.Predictions {
		c.Predictions[i] = slices.Clone(p)
	}
	return c
}

// Done reports whether every step has been taken.
func (u *UniPC) Done() bool { return u.Step >= u.Schedule.Steps }

// Timestep is the timestep that the network is asked about in the next step. Only valid until Done.
func (u *UniPC) Timestep() int64 { return u.Schedule.Timesteps[u.Step] }

// Advance takes one step: from the velocity that the (guided) network predicts for latents, it moves latents, in
// place, to the next sigma. Both have the same length, the same at every step. A failed call changes nothing.
func (u *UniPC) Advance(latents, velocity []float32) error {
	if err := u.check(latents, velocity); err != nil {
		return err
	}
	newest := predictData(u.Schedule.Sigmas[u.Step], latents, velocity)
	if u.Step > 0 {
		u.correct(latents, newest)
	}
	u.Order = min(2, u.Schedule.Steps-u.Step, len(u.Predictions)+1) // first order to warm up and to finish
	u.Predictions = append(u.Predictions[max(0, len(u.Predictions)-1):len(u.Predictions):len(u.Predictions)], newest)
	u.Corrected = append(u.Corrected[:0], latents...)
	u.predict(latents)
	u.Step++
	return nil
}

// check refuses what only a mixed-up caller or a damaged saved state can bring.
func (u *UniPC) check(latents, velocity []float32) error {
	n := len(latents)
	switch {
	case u.Step < 0:
		return fmt.Errorf("sampler: the state has step %d", u.Step)
	case u.Done():
		return fmt.Errorf("sampler: all %d steps are done", u.Schedule.Steps)
	case u.Schedule.Start != 0:
		return fmt.Errorf("sampler: a schedule of %d steps at shift %v repeats its first timestep", u.Schedule.Steps, u.Schedule.Shift)
	case len(velocity) != n:
		return fmt.Errorf("sampler: %d velocities for %d latents", len(velocity), n)
	case len(u.Predictions) != min(2, u.Step), u.Step > 0 && (len(u.Corrected) != n || u.Order < 1 || u.Order > len(u.Predictions)):
		return fmt.Errorf("sampler: the state of step %d is incomplete or of another size", u.Step)
	}
	for _, p := range u.Predictions {
		if len(p) != n {
			return fmt.Errorf("sampler: the state of step %d has %d values for %d latents", u.Step, len(p), n)
		}
	}
	return nil
}

// predictData is the data (x0) that velocity v implies: x - sigma·v.
func predictData(sigma float32, x, v []float32) []float32 {
	m := make([]float32, len(x))
	for i := range m {
		m[i] = x[i] - float32(sigma*v[i])
	}
	return m
}

// correct (UniC) replaces the last predictor's result x by one that also uses the data prediction m made at it, with
// the order p of that predictor.
func (u *UniPC) correct(x, m []float32) {
	i, n := u.Step, len(u.Predictions)
	from, to := u.at(i-1), u.at(i)
	g := between(from, to)
	m0, previous := u.Predictions[n-1], u.Corrected

	var a, r float32 // weight and distance of the older prediction; unused at first order
	b := float32(0.5)
	older := m0
	if u.Order == 2 {
		r = (u.at(i-2).lambda - from.lambda) / g.h
		older = u.Predictions[n-2]
		phi1 := g.b/g.hh - 1
		b1 := phi1 / g.b
		b2 := (phi1/g.hh - 0.5) * 2 / g.b
		b = (b2 - float32(r*b1)) / (1 - r) // solves [[1 1] [r 1]] [a b] = [b1 b2]
		a = b1 - b
	}
	for k := range x {
		base := float32(g.ratio*previous[k]) - float32(g.alphaB*m0[k])
		step := float32(b * (m[k] - m0[k]))
		if u.Order == 2 {
			step = float32(a*((older[k]-m0[k])/r)) + step
		}
		x[k] = base - float32(g.alphaB*step)
	}
}

// predict (UniP) moves x from the current sigma to the next one. At the last step sigma is 0 and lambda +Inf, so the
// weight of x is 0, B is -1 and the result is the newest data prediction itself.
func (u *UniPC) predict(x []float32) {
	i, n := u.Step, len(u.Predictions)
	from, to := u.at(i), u.at(i+1)
	g := between(from, to)
	m := u.Predictions[n-1]
	if u.Order == 1 {
		for k := range x {
			x[k] = float32(g.ratio*x[k]) - float32(g.alphaB*m[k])
		}
		return
	}
	r := (u.at(i-1).lambda - from.lambda) / g.h
	older := u.Predictions[n-2]
	for k := range x {
		base := float32(g.ratio*x[k]) - float32(g.alphaB*m[k])
		d := (older[k] - m[k]) / r
		x[k] = base - float32(g.alphaB*float32(0.5*d))
	}
}

// level is one noise level: x = alpha·data + sigma·noise, lambda = log(alpha/sigma).
type level struct{ alpha, sigma, lambda float32 }

func (u *UniPC) at(i int) level {
	sigma := u.Schedule.Sigmas[i]
	alpha := 1 - sigma
	return level{alpha, sigma, log(alpha) - log(sigma)}
}

// gap holds the scalars of a step between two levels: h is its length in lambda, hh = -h, b = B(h) = expm1(hh).
type gap struct{ h, hh, b, ratio, alphaB float32 }

func between(from, to level) gap {
	h := to.lambda - from.lambda
	b := float32(math.Expm1(float64(-h)))
	return gap{h: h, hh: -h, b: b, ratio: to.sigma / from.sigma, alphaB: to.alpha * b}
}

func log(x float32) float32 { return float32(math.Log(float64(x))) }
