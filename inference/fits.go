package inference

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/plan"
)

// doubt is the share of the planner's figures that is believed when a clip is refused on the CPU: one that would just have
// been made must not be turned away. A card refuses a byte too much, and there the plan decides what is dropped as well.
const doubt = 0.9

// plan says how the devices make a clip, or refuses one that they cannot make in the memory that is left, before a network
// runs: the system would kill the worker in the middle, and with it what the job's caller could have been told.
func (e *Engine) plan(m *Models, job plan.Job) (*plan.Plan, error) {
	size, err := e.size(m)
	if err != nil {
		return nil, err
	}
	c := e.capacity()
	if e.layOut != nil {
		return e.layOut(size, job, c)
	}
	if !c.Mapped {
		return plan.Make(size, job, c)
	}
	p, err := onlyWay(size, job, c)
	if err == nil && float64(p.Peak-c.Base) > float64(c.Free)/doubt {
		c.Base = 0 // this process has its base already
		return plan.Make(size, job, c)
	}
	return p, err
}

// onlyWay is how a clip is made on the CPU, which has no other way, whether it fits or not.
func onlyWay(size plan.Model, job plan.Job, c plan.Device) (*plan.Plan, error) {
	c.Free = math.MaxInt64
	return plan.Make(size, job, c)
}

// Plan says how a clip of a variant is made on this machine, or why it does not fit. No weight is read.
func (e *Engine) Plan(v Variant, job plan.Job) (*plan.Plan, error) {
	m, err := e.Models(v)
	if err != nil {
		return nil, err
	}
	return e.plan(m, job)
}
