package inference

import (
	"context"
	"errors"

	"github.com/humo-worker/humo-worker/inference/ort"
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

// denoiser runs a guidance plan over a schedule.
type denoiser struct {
	plan       *sampler.Plan
	forward    *Forward
	text       map[sampler.Text]*ort.Tensor
	audio      map[bool]*ort.Tensor // false: the all-zero windows, which pass the audio layers like any others
	references int
	refs       *Latent
	y          map[bool][]float32 // 17B: with the pictures, and without (y_null)
}

// newDenoiser embeds the conditions and builds the transformer for frames latent frames, references included.
func newDenoiser(ctx context.Context, t *Transformer, plan *sampler.Plan, c *conditions, frames int) (d *denoiser, err error) {
	d = &denoiser{plan: plan, references: c.refs.Frames, refs: c.refs, text: map[sampler.Text]*ort.Tensor{}, audio: map[bool]*ort.Tensor{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	texts := map[sampler.Text]*TextEmbedding{sampler.Prompt: c.prompt, sampler.Negative: c.negative}
	windows := map[bool][]float32{true: c.windows, false: make([]float32, len(c.windows))}
	for _, pass := range plan.Passes {
		if d.text[pass.Text] == nil {
			if d.text[pass.Text], err = t.EmbedText(ctx, texts[pass.Text]); err != nil {
				return d, err
			}
		}
		if d.audio[pass.Audio] == nil {
			if d.audio[pass.Audio], err = t.EmbedAudio(ctx, windows[pass.Audio], frames); err != nil {
				return d, err
			}
		}
	}
	if plan.Injection == sampler.InChannels {
		d.y = map[bool][]float32{true: conditionChannels(c.zero, c.refs, d.references), false: conditionChannels(c.zero, nil, d.references)}
	}
	d.forward, err = t.Prepare(wan.Grid{Frames: int64(frames), Height: int64(c.refs.Height), Width: int64(c.refs.Width)})
	return d, err
}

// run takes latents from noise to data, in place, solver from its state to the end. step counts passes; after is called when
// a step is done.
func (d *denoiser) run(ctx context.Context, solver *sampler.UniPC, latents *Latent, step func(done, total int), after func()) error {
	total := solver.Schedule.Steps * len(d.plan.Passes)
	done := solver.Step * len(d.plan.Passes)
	for !solver.Done() {
		t := solver.Timestep()
		outputs := make([][]float32, 0, len(d.plan.Passes))
		for _, c := range d.plan.Conditions(t) {
			step(done, total)
			v, err := d.forward.Run(ctx, d.input(latents, c.Image), t, d.text[c.Text], d.audio[c.Audio])
			if err != nil {
				return err
			}
			outputs = append(outputs, v)
			done++
		}
		velocity, err := d.plan.Combine(t, outputs)
		if err != nil {
			return err
		}
		if err := solver.Advance(latents.Data, velocity); err != nil {
			return err
		}
		after()
	}
	step(done, total)
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

// Close frees the sessions and the embedded conditions.
func (d *denoiser) Close() error {
	var err error
	for _, t := range d.text {
		if t != nil {
			err = errors.Join(err, t.Close())
		}
	}
	for _, t := range d.audio {
		if t != nil {
			err = errors.Join(err, t.Close())
		}
	}
	if d.forward != nil {
		err = errors.Join(err, d.forward.Close())
	}
	return err
}
