package inference

import (
	"fmt"

	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/plan"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// Linear says in which numbers the linear layers of a clip's transformer run: those of a Fast clip on the CPU in INT8 where that
// can be done, all others in the type in which the transformer computes. Exact and Balanced clips are never rounded.
type Linear struct {
	DType  DType  // INT8: those that run for every token of a pass; attention and everything else stay FP32
	Reason string // why a Fast clip on the CPU is not in INT8; else empty
}

// INT8 is the type of linear layers whose weights and inputs are rounded to 8 bits (nn.Linear.Int8). HUMO_DTYPE does not know it.
const INT8 DType = "int8"

// linear decides in which numbers a clip's linear layers run, and returns the plan that counts what that takes: the given one, or
// the one with the rounded copies of the weights, which lie in memory beside the mapped files. Where these do not fit, the layers
// stay in float32: a clip that can be made is not refused.
func (e *Engine) linear(m *Models, t *Transformer, q Quality, job plan.Job, way *plan.Plan) (Linear, *plan.Plan, error) {
	l := Linear{DType: nameOf(t.compute())}
	if q != Fast || l.DType != FP32 || !t.device.mapped {
		return l, way, nil
	}
	if l.Reason = e.notInt8(t); l.Reason != "" {
		return l, way, nil
	}
	copies, err := t.int8Copies()
	if err != nil {
		return l, way, err
	}
	if copies.Int8 == 0 {
		l.Reason = "an adapter changes the weights of all layers themselves"
		return l, way, nil
	}
	size, err := e.size(m)
	if err != nil {
		return l, way, err
	}
	c := e.capacity()
	job.Copies = copies.Bytes
	with, err := onlyWay(size, job, c)
	if err != nil {
		return l, way, err
	}
	if with.Peak-c.Base > max(way.Peak-c.Base, c.Free) { // where another stage needs more, the copies are no matter
		l.Reason = fmt.Sprintf("the copies of the weights in 8 bits take %.1f GB, for which there is not enough memory",
			float64(copies.Bytes)/1e9)
		return l, way, nil
	}
	return Linear{DType: INT8}, with, nil
}

// notInt8 is why this machine or engine does not compute in 8 bits, or nothing.
func (e *Engine) notInt8(t *Transformer) string {
	exact := ort.Int8Exact
	if e.int8Exact != nil {
		exact = e.int8Exact
	}
	switch {
	case t.decompose, e.noInt8:
		return "it is switched off for a measurement"
	case !exact():
		return "this processor has no VNNI instructions, without which products in 8 bits are not exact"
	}
	return ""
}

// In is the transformer with its linear layers in other numbers. INT8 where it cannot be had is refused by Prepare.
func (t *Transformer) In(l Linear) *Transformer {
	other := *t
	other.int8 = l.DType == INT8
	return &other
}

// int8Copies counts what a pass in 8 bits copies, adapters included. It does not depend on the clip's size.
func (t *Transformer) int8Copies() (ort.Copies, error) {
	smallest := wan.Grid{Frames: 1, Height: 2, Width: 2}
	return ort.CopiesOf(t.net.StartNetwork(smallest), t.net.PassNetwork(smallest))
}

// Measure changes what the engine makes from now on, in ways that no job can: the guidance of clips, and whether fast ones may
// have layers in 8 bits. It serves measurements; guide may be nil.
func (e *Engine) Measure(guide func(*sampler.Plan), int8 bool) { e.guide, e.noInt8 = guide, !int8 }
