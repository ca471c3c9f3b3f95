package bench

import (
	"context"
	"errors"
	"time"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/ort"
)

// task is something that is timed.
type task struct {
	name   string
	flop   float64
	blocks bool // its time grows with the number of blocks
	run    func(ctx context.Context) error
	torch  any // what Script is asked for; nil: it has no such thing
}

// time runs tasks in turns with products, and with PyTorch: each once to warm up, then as often as is wanted.
func (b *bench) time(ctx context.Context, t task) (r *Result, err error) {
	rows, width, inner := b.productSize()
	best, err := b.products(ctx, rows, width, inner)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, best.Close()) }()
	var other *torch
	if b.Script != "" && t.torch != nil {
		if other, err = b.startTorch(ctx, t.torch); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, other.Close()) }()
	}
	var own, torchs, rates []float64
	var peak use
	var torchPeak int64
	for i := range b.Repeats + 1 {
		seconds, err := best.Run(ctx)
		if err != nil {
			return nil, err
		}
		watch, began := b.watch(), time.Now()
		err = t.run(ctx)
		took := time.Since(began).Seconds()
		peak.add(watch.stop())
		if err != nil {
			return nil, err
		}
		var theirs answer
		if other != nil {
			if theirs, err = other.Run(ctx); err != nil {
				return nil, err
			}
		}
		b.log.Info().Str("measured", t.name).Int("run", i).Int("runs", b.Repeats).Float64("seconds", took).Msg("A run is over.")
		if i == 0 {
			continue // the first maps pages, uploads weights and chooses algorithms
		}
		own, rates = append(own, took), append(rates, best.flop/seconds)
		if other != nil {
			torchs, torchPeak = append(torchs, theirs.Seconds), max(torchPeak, theirs.Peak)
		}
	}
	r = &Result{Name: t.name, Seconds: spreadOf(own), FLOP: t.flop, Products: spreadOf(rates),
		PeakBytes: peak.Total, PeakOwnBytes: peak.Anonymous, PeakCardBytes: peak.card}
	if b.where == (ort.Place{}) { // the products' matrices are not the network's
		r.PeakBytes -= best.bytes
		r.PeakOwnBytes -= best.bytes
	}
	r.Rate = t.flop / r.Seconds.Median
	r.Share = r.Rate / r.Products.Median
	if other != nil {
		r.Torch = &Compared{Seconds: spreadOf(torchs), Version: other.ready.Version, PeakBytes: torchPeak, LibraryBytes: other.ready.Libraries}
		r.Torch.Ratio = r.Torch.Seconds.Median / r.Seconds.Median
	}
	if t.blocks && b.report.Blocks < b.report.AllBlocks {
		r.AllBlocksSeconds = r.Seconds.Median * float64(b.report.AllBlocks) / float64(b.report.Blocks)
	}
	b.report.Results = append(b.report.Results, *r)
	return r, nil
}

// productSize is that of the products: as wide as the transformer's, with rows enough for the place to be busy.
func (b *bench) productSize() (rows, width, inner int64) {
	width, inner = b.widths()
	if b.where == (ort.Place{}) {
		return 512, width, inner
	}
	return 8192, width, inner
}

// widths are those of the transformer's residual stream and feed-forward network: the given one's, or the published one's.
func (b *bench) widths() (width, inner int64) {
	s := inference.PublishedShape(b.Size.Variant)
	if b.models != nil && !b.report.Synthetic {
		s = b.models.Transformer.Shape()
	}
	return int64(s.Width), int64(s.FFN)
}
