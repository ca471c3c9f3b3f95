package inference

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/memory"
	"github.com/humo-worker/humo-worker/inference/plan"
)

// begin puts a plan in effect and waits until it may: a clip has the devices for itself, unless their weights are mapped.
// Networks that the plan does not keep leave the devices, now and when the returned func ends the clip's turn.
func (e *Engine) begin(ctx context.Context, p *plan.Plan) (end func() error, err error) {
	if e.devices[0].mapped {
		return func() error { return nil }, nil
	}
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for _, d := range e.devices {
		d.plan = p
	}
	passing := slices.DeleteFunc(slices.Clone(plan.Networks), func(n plan.Network) bool { return slices.Contains(p.Resident, n) })
	end = func() error {
		err := e.drop(passing)
		for _, d := range e.devices {
			d.plan = nil
		}
		<-e.turn
		return err
	}
	if err := e.drop(passing); err != nil {
		return nil, errors.Join(err, end())
	}
	return end, nil
}

// leave drops what the plan keeps no longer than a stage.
func (e *Engine) leave(p *plan.Plan, stage string) error {
	if e.devices[0].mapped {
		return nil
	}
	for _, s := range p.Stages {
		if s.Name == stage {
			return e.drop(s.Drop)
		}
	}
	return nil
}

// drop takes networks off the devices.
func (e *Engine) drop(networks []plan.Network) error {
	var err error
	for _, d := range e.devices {
		for _, n := range networks {
			err = errors.Join(err, d.shelves[n].Drop())
		}
	}
	return err
}

// available is how many bytes a clip may take of a device. Of a card it is what was free when the engine was opened: a
// worker has its cards for itself, and what it has taken since then is its own.
func (d *device) available() (bytes int64, ok bool) {
	if d.card != nil {
		return d.card.Free, true
	}
	return memory.Available()
}

// capacity is what a plan reckons with: the device that has least, if there are several.
func (e *Engine) capacity() plan.Device {
	first := e.devices[0]
	c := plan.Device{Free: math.MaxInt64, Compute: first.dtype.Size(), Base: plan.CUDABase, Mapped: first.mapped}
	if text := e.site(plan.Text); text.device == first {
		c.Text = text.compute().Size()
	}
	if first.card == nil {
		c.Base = plan.CPUBase
	}
	for _, d := range e.devices {
		available := e.available
		if available == nil {
			available = d.available
		}
		bytes, ok := available()
		if d.card == nil && !d.mapped {
			bytes += e.rt.Held(d.place) // it counts as taken, but may stay or go as the plan says
		}
		if ok {
			c.Free = min(c.Free, bytes)
		}
	}
	return c
}

// size is that of the checkpoints that were opened. Where weights are copied to a device it counts them, for which it opens
// the text encoder.
func (e *Engine) size(m *Models) (plan.Model, error) {
	t := m.Transformer.Shape()
	variant := Variant1B
	if m.Transformer.Conditioned() {
		variant = Variant17B
	}
	text := m.Transformer.net.TextDim()
	size := plan.Model{
		Variant: string(variant), Width: int64(t.Width), FFN: int64(t.FFN), Blocks: int64(t.Layers), Conditioned: m.Transformer.Conditioned(),
		VAEChannels: m.VAE.net.Decoder.Res14.Conv2.Bias.Elements(), TextWidth: text, TextFFN: text * 10240 / 4096, AudioWidth: m.Audio.net.Dim(),
	}
	if e.devices[0].mapped {
		return size, nil
	}
	if err := m.Text.Open(); err != nil {
		return size, err
	}
	size.Bytes = map[plan.Network]int64{}
	for n, file := range map[plan.Network]string{plan.Text: m.Files.UMT5, plan.Audio: m.Files.Whisper, plan.VAE: m.Files.VAE, plan.DiT: m.Files.DiT} {
		ix, err := checkpoint.Open(file)
		if err != nil {
			return size, err
		}
		unused, each := e.ahead.skipped(file), e.site(n).compute().Size()
		for _, name := range ix.Names() {
			bytes := ix.Tensors[name].Elements() * each
			if slices.Contains(unused, name) {
				continue
			}
			size.Bytes[n] += bytes
			if n == plan.DiT && strings.HasPrefix(name, "blocks.0.") {
				size.BlockBytes += bytes
			}
		}
	}
	return size, nil
}
