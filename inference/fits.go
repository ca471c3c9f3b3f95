package inference

import (
	"math"

	"github.com/humo-worker/humo-worker/inference/memory"
	"github.com/humo-worker/humo-worker/inference/plan"
)

// doubt is the share of the planner's figures that is believed when a clip is refused: one that would just have been made
// must not be turned away.
const doubt = 0.9

// fits refuses a clip that cannot be made in the memory that is left, before a network runs: the system would kill the
// worker in the middle, and with it what the job's caller could have been told. frames is the clip's length as it is made.
func (e *Engine) fits(m *Models, s *Spec, frames int) error {
	_, err := e.plan(m, plan.Job{Width: s.Width, Height: s.Height, Frames: frames, References: len(s.ImagePaths)})
	return err
}

// plan says how the CPU makes a clip. Weights are pages of their files, so what counts is activations.
func (e *Engine) plan(m *Models, job plan.Job) (*plan.Plan, error) {
	device := plan.Device{Free: math.MaxInt64, Compute: 4, Base: plan.CPUBase, Mapped: true}
	p, err := plan.Make(m.size(), job, device)
	if err != nil {
		return nil, err
	}
	available := e.available
	if available == nil {
		available = memory.Available
	}
	free, told := available()
	if !told {
		return p, nil
	}
	device.Base = 0 // this process has it already
	if device.Free = int64(min(float64(free)/doubt, math.MaxInt64/2)); p.Peak-plan.CPUBase > device.Free {
		device.Free = free // the true number, for the message
		return plan.Make(m.size(), job, device)
	}
	return p, nil
}

// size is that of the checkpoints that were opened.
func (m *Models) size() plan.Model {
	t := m.Transformer.shape()
	variant := Variant1B
	if m.Transformer.Conditioned() {
		variant = Variant17B
	}
	text := m.Transformer.net.TextDim() // the text encoder is opened on need only
	return plan.Model{
		Variant: string(variant), Width: int64(t.Width), FFN: int64(t.FFN), Blocks: int64(t.Layers), Conditioned: m.Transformer.Conditioned(),
		VAEChannels: m.VAE.net.Decoder.Res14.Conv2.Bias.Elements(), TextWidth: text, TextFFN: text * 10240 / 4096, AudioWidth: m.Audio.net.Dim(),
	}
}

// Plan says how a clip of a variant is made on this machine, or why it does not fit. No weight is read.
func (e *Engine) Plan(v Variant, job plan.Job) (*plan.Plan, error) {
	m, err := e.Models(v)
	if err != nil {
		return nil, err
	}
	return e.plan(m, job)
}
