package inference

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// conditions is all that the transformer is shown besides the latents.
type conditions struct {
	prompt, negative *TextEmbedding
	windows          []float32 // [F + references, 8, 5, C]
	refs             *Latent
	zero             *Latent // 17B: of F + references frames
}

// denoiser runs a guidance plan over a schedule. The passes of a step are independent of each other, so they run side by
// side on as many devices as there are, a lane on each. A pass is never split: its sequence is as long as ever, and one
// card must hold it.
type denoiser struct {
	plan       *sampler.Plan
	lanes      []*lane
	references int
	refs       *Latent
	y          map[bool][]float32 // 17B: with the pictures, and without (y_null)
}

// lane is a device's part of the work, and what its passes are shown, there.
type lane struct {
	passes  []int // of the plan
	forward *Forward
	text    map[sampler.Text]Keys
	audio   map[bool]Keys // false: of the all-zero windows, which pass the audio layers like any others
}

// newDenoiser prepares the conditions and builds the transformer for frames latent frames, references included, on each of
// the devices.
func newDenoiser(ctx context.Context, t *Transformer, devices []*device, plan *sampler.Plan, c *conditions,
	frames int) (d *denoiser, err error) {
	d = &denoiser{plan: plan, references: c.refs.Frames, refs: c.refs}
	defer func() {
		if err != nil {
			d, err = nil, errors.Join(err, d.Close())
		}
	}()
	if plan.Injection == sampler.InChannels {
		d.y = map[bool][]float32{true: conditionChannels(c.zero, c.refs, d.references), false: conditionChannels(c.zero, nil, d.references)}
	}
	for range min(len(devices), len(plan.Passes)) {
		d.lanes = append(d.lanes, &lane{text: map[sampler.Text]Keys{}, audio: map[bool]Keys{}})
	}
	for i := range plan.Passes {
		l := d.lanes[i%len(d.lanes)]
		l.passes = append(l.passes, i)
	}
	for i, l := range d.lanes {
		if err := l.open(ctx, t.on(devices[i]), plan, c, frames); err != nil {
			return d, err
		}
	}
	return d, nil
}

// open makes ready what the lane's passes need.
func (l *lane) open(ctx context.Context, t *Transformer, plan *sampler.Plan, c *conditions, frames int) (err error) {
	texts := map[sampler.Text]*TextEmbedding{sampler.Prompt: c.prompt, sampler.Negative: c.negative}
	windows := map[bool][]float32{true: c.windows, false: make([]float32, len(c.windows))}
	for _, i := range l.passes {
		pass := plan.Passes[i]
		if l.text[pass.Text] == nil {
			if l.text[pass.Text], err = t.TextKeys(ctx, texts[pass.Text]); err != nil {
				return err
			}
		}
		if l.audio[pass.Audio] == nil {
			if l.audio[pass.Audio], err = t.AudioKeys(ctx, windows[pass.Audio], frames); err != nil {
				return err
			}
		}
	}
	size := wan.Grid{Frames: int64(frames), Height: int64(c.refs.Height), Width: int64(c.refs.Width)}
	l.forward, err = t.Prepare(ctx, size)
	return err
}

// run takes latents from noise to data, in place, solver from its state to the end. step counts passes, those of spared steps
// too; after is called when a step is done. Both are called from this goroutine.
func (d *denoiser) run(ctx context.Context, solver *stepper, latents *Latent, step func(done, total int), after func()) error {
	done, total := 0, d.plan.Calls(solver.Schedule, 1)
	for _, t := range solver.Schedule.Timesteps[:solver.Step] {
		done += len(d.plan.Conditions(t))
	}
	count := func() {
		done++
		step(done, total)
	}
	step(done, total)
	for !solver.Done() {
		velocity, err := d.velocity(ctx, solver, latents, count)
		if err != nil {
			return err
		}
		if err := solver.Advance(latents.Data, velocity); err != nil {
			return err
		}
		after()
	}
	return nil
}

// velocity computes the guided velocity of the next step, or takes it from an earlier one.
func (d *denoiser) velocity(ctx context.Context, solver *stepper, latents *Latent, count func()) ([]float32, error) {
	t := solver.Timestep()
	if v, spared := solver.reuse.Predict(solver.Step, latents.Data); spared {
		for range d.plan.Conditions(t) {
			count()
		}
		return v, ctx.Err()
	}
	outputs, err := d.passes(ctx, latents, t, count)
	if err != nil {
		return nil, err
	}
	v, err := d.plan.Combine(t, outputs)
	if err == nil {
		solver.reuse.Computed(solver.Step, latents.Data, v)
	}
	return v, err
}

// passes runs the passes of a step and returns their velocities in the plan's order, nil for those that do not run at t.
// finished is called from this goroutine as each of them ends. The first error stops the others.
func (d *denoiser) passes(ctx context.Context, latents *Latent, t int64, finished func()) ([][]float32, error) {
	list := d.plan.Conditions(t)
	inputs := map[bool][]float32{}
	for _, c := range list {
		if inputs[c.Image] == nil {
			inputs[c.Image] = d.input(latents, c.Image)
		}
	}
	outputs := make([][]float32, len(d.plan.Passes))
	ended := make(chan struct{}, len(list))
	work, ctx := errgroup.WithContext(ctx)
	for _, l := range d.lanes {
		work.Go(func() error {
			return l.run(ctx, t, list, inputs, func(pass int, velocity []float32) {
				outputs[pass] = velocity
				ended <- struct{}{}
			})
		})
	}
	result := make(chan error, 1)
	go func() {
		result <- work.Wait()
		close(ended)
	}()
	for range ended {
		finished()
	}
	return outputs, <-result
}

// run runs those of the list that are the lane's, one after the other. What neighbours with the same latents have in common is
// computed once; in all plans those are all that have them.
func (l *lane) run(ctx context.Context, t int64, list []sampler.Condition, inputs map[bool][]float32,
	result func(pass int, velocity []float32)) (err error) {
	list = slices.DeleteFunc(slices.Clone(list), func(c sampler.Condition) bool { return !slices.Contains(l.passes, c.Pass) })
	if len(list) == 0 {
		return nil
	}
	step, err := l.forward.Step(ctx, t)
	if err != nil {
		return err
	}
	defer closing(step, &err)
	for i, c := range list {
		if i == 0 || c.Image != list[i-1].Image {
			if err := step.Begin(ctx, inputs[c.Image]); err != nil {
				return err
			}
		}
		velocity, err := step.Pass(ctx, l.text[c.Text], l.audio[c.Audio])
		if err != nil {
			return err
		}
		result(c.Pass, velocity)
	}
	return nil
}

// input is what a pass is given for latents: the 1.7B finds the pictures' latents, or zeros, in the place of the last
// frames; the 17B finds them in further channels.
func (d *denoiser) input(latents *Latent, image bool) []float32 {
	if d.plan.Injection == sampler.InChannels {
		return append(latents.Slice(0, latents.Frames).Data, d.y[image]...)
	}
	x := latents.Slice(0, latents.Frames)
	refs := d.refs
	if !image {
		refs = NewLatent(d.references, x.Height, x.Width)
	}
	x.Paste(x.Frames-d.references, refs, 0, d.references)
	return x.Data
}

// Close frees the sessions and the prepared conditions.
func (d *denoiser) Close() error {
	var err error
	for _, l := range d.lanes {
		for _, k := range l.text {
			err = errors.Join(err, k.Close())
		}
		for _, k := range l.audio {
			err = errors.Join(err, k.Close())
		}
		if l.forward != nil {
			err = errors.Join(err, l.forward.Close())
		}
	}
	return err
}
