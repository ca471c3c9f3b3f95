package bench

import (
	"context"
	"errors"

	"github.com/humo-worker/humo-worker/inference/wan"
)

// bare times the matrix products themselves, so that PyTorch's can be compared with ONNX Runtime's.
func (b *bench) bare(ctx context.Context) (err error) {
	rows, width, inner := b.productSize()
	r, err := b.products(ctx, rows, width, inner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = b.time(ctx, task{name: "matrix products", flop: r.flop, torch: torchProducts{"products", rows, width, inner},
		run: func(ctx context.Context) error {
			_, err := r.Run(ctx)
			return err
		}})
	return err
}

// parts times what a block of the transformer consists of, each alone, and sums up what they explain of the pass that was
// timed before: the rest is norms, rotations, activations and sums, and what the parts do to each other's caches.
func (b *bench) parts(ctx context.Context) error {
	pass := b.report.Results[len(b.report.Results)-1]
	width, inner := b.widths()
	tokens := int64(b.Size.Tokens())
	explained := 0.0
	for _, part := range []struct {
		name  string
		times float64 // in a block
		make  func() (*runner, error)
	}{
		{"a projection", 8, func() (*runner, error) { return b.linear(ctx, tokens, width, width) }}, // q, k, v, o; q, o of text and audio
		{"feed-forward up", 1, func() (*runner, error) { return b.linear(ctx, tokens, width, inner) }},
		{"feed-forward down", 1, func() (*runner, error) { return b.linear(ctx, tokens, inner, width) }},
		{"self-attention", 1, func() (*runner, error) { return b.attention(ctx, tokens, width, wan.HeadDim) }},
	} {
		r, err := b.alone(ctx, part.name, part.make)
		if err != nil {
			return err
		}
		last := &b.report.Results[len(b.report.Results)-1]
		seconds := r.Seconds.Median * r.Products.Median / pass.Products.Median // were the machine as fast as it was then
		last.PartOfPass = part.times * float64(b.models.Transformer.Shape().Layers) * seconds / pass.Seconds.Median
		explained += last.PartOfPass
	}
	b.report.Results = append(b.report.Results, Result{Name: "everything else", PartOfPass: 1 - explained})
	return nil
}
