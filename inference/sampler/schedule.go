package sampler

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// The reference's defaults and the limits of a schedule.
const (
	DefaultSteps = 50
	DefaultShift = 5.0

	TrainTimesteps = 1000 // timesteps of the training table; a timestep is 1000·sigma, truncated
	MaxSteps       = TrainTimesteps
	MinShift       = 0.1
	MaxShift       = 100.0
)

// sigmaMax is the largest sigma of the training table, 1 - 1/1000, which the reference stores as float32.
const sigmaMax = float64(float32(0.999))

// Schedule is the list of noise levels that a run goes through. Spec §8.2.
type Schedule struct {
	Steps     int
	Shift     float64
	Sigmas    []float32 // [Steps+1], decreasing; the last one is 0
	Timesteps []int64   // [Steps], what the network is told
	Start     int       // index at which the reference begins: 1 when the first timestep occurs twice, else 0
}

// NewSchedule returns the schedule of a run. It refuses step counts and shifts outside the limits, and step counts
// that repeat the first timestep: there the reference starts one step late and then stops with an AssertionError.
func NewSchedule(steps int, shift float64) (*Schedule, error) {
	if !(shift >= MinShift && shift <= MaxShift) { // written so that NaN is refused
		return nil, fault.New("invalid_input", "shift", "%v is outside %v to %v; the default is %v",
			shift, MinShift, MaxShift, DefaultShift)
	}
	if steps < 1 || steps > MaxSteps {
		return nil, fault.New("invalid_input", "steps", "%d is outside 1 to %d; the default is %d", steps, MaxSteps, DefaultSteps)
	}
	if s := Table(steps, shift); s.Start == 0 {
		return s, nil
	}
	limit := steps - 1
	for Table(limit, shift).Start != 0 {
		limit--
	}
	return nil, fault.New("invalid_input", "steps", "%d steps repeat the first timestep at shift %v; use at most %d, or a smaller shift",
		steps, shift, limit)
}

// Table computes a schedule exactly as the reference does and judges nothing: steps must be at least 1, and Start may
// be 1, which NewSchedule refuses.
func Table(steps int, shift float64) *Schedule {
	s := &Schedule{Steps: steps, Shift: shift, Sigmas: make([]float32, steps+1), Timesteps: make([]int64, steps)}
	spacing := -sigmaMax / float64(steps) // numpy.linspace(sigmaMax, 0, steps+1) without its last point
	for i := range steps {
		u := sigmaMax + float64(float64(i)*spacing)
		sigma := shift * u / (1 + float64((shift-1)*u)) // float64(…) forbids a fused multiply-add
		s.Sigmas[i] = float32(sigma)
		s.Timesteps[i] = int64(math.Trunc(sigma * TrainTimesteps)) // from the double, before rounding to float32
	}
	if steps > 1 && s.Timesteps[1] == s.Timesteps[0] {
		s.Start = 1
	}
	return s
}
