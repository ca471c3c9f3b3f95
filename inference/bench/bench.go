package bench

import (
	"context"
	"errors"
	"os"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Options say what is measured, and how often.
type Options struct {
	Size    Size
	Weights string // folder in the published layout; empty: made for the occasion
	Blocks  int    // of a network whose weights are made: that many of its blocks; 0: all
	Repeats int    // runs that count; one before them does not
	Parts   bool   // of a pass of the transformer: also its parts, alone
	Int8    bool   // of a pass of the transformer: its linear layers in 8 bits, as those of a fast clip on the CPU

	// Python runs Script, which measures the same in PyTorch, in turns with ours; empty: not.
	Python, Script string

	// Probe runs ProbeAttention in a new process and returns what that printed to its standard output; for GPU only.
	Probe func(ctx context.Context) ([]byte, error)
}

// Network is a part of the model that can be measured.
type Network string

// What Run measures.
const (
	DiT      Network = "dit"      // a pass of the diffusion transformer
	VAE      Network = "vae"      // the decoding of a clip
	Text     Network = "text"     // the encoding of a prompt
	Audio    Network = "audio"    // the encoding of a voice track
	E2E      Network = "e2e"      // a clip, from sound to mp4
	GPU      Network = "gpu"      // on a card: the transformer's parts, a pass, the decoding
	Products Network = "products" // the matrix products that all others are compared with
)

// Networks are all of them.
func Networks() []Network { return []Network{DiT, VAE, Text, Audio, E2E, GPU, Products} }

// bench is a measurement under way.
type bench struct {
	Options
	log    zerolog.Logger
	engine *inference.Engine
	models *inference.Models
	place
	report *Report
	kernel string // of attention, as ONNX Runtime calls it
}

// Run measures a network. Everything it made is gone when it returns, whatever the reason; ctx stops it within one
// operator.
func Run(ctx context.Context, cfg inference.Config, n Network, o Options, log zerolog.Logger) (report *Report, err error) {
	if o.Repeats < 1 || o.Blocks < 0 {
		return nil, fault.New("bad_count", "", "%d runs of %d blocks are nothing to measure; give 1 run or more", o.Repeats, o.Blocks)
	}
	if o.Script != "" {
		if _, err := os.Stat(o.Script); err != nil {
			return nil, fault.New("no_torch", "", "%s is not there; compare with PyTorch from the folder of the source code", o.Script)
		}
	}
	b := &bench{Options: o, log: log}
	b.report = &Report{Network: n, Variant: o.Size.Variant, Size: o.Size.String(), Tokens: o.Size.Tokens(), Threads: cfg.ORT.Threads,
		Int8: o.Int8}
	if n == GPU {
		if err := b.probe(ctx); err != nil {
			return nil, err
		}
	}
	if o.Weights == "" {
		folder, err := os.MkdirTemp("", "humo-bench-")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		if err := b.write(ctx, folder, n); err != nil {
			return nil, err
		}
	}
	cfg.Weights.Root = b.Weights
	cfg.Cache.Folder = "none" // prompts of a measurement are nobody's
	if b.engine, err = inference.Open(cfg, log); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.engine.Close()) }()
	b.rt, b.where, b.dtype = b.engine.Primary()
	b.report.Machine = b.engine.Machine()
	b.report.ONNXRuntime, _ = b.engine.Runtime()
	if b.models, err = b.engine.Models(o.Size.Variant); err != nil {
		return nil, err
	}
	return b.report, b.measure(ctx, n)
}

// measure runs what a network's measurement consists of.
func (b *bench) measure(ctx context.Context, n Network) error {
	switch n {
	case DiT:
		return b.dit(ctx)
	case VAE:
		return b.vae(ctx)
	case Text:
		return b.text(ctx)
	case Audio:
		return b.audio(ctx)
	case E2E:
		return b.e2e(ctx)
	case GPU:
		return b.gpu(ctx)
	case Products:
		return b.bare(ctx)
	}
	return fault.New("bad_network", "", "%.20q cannot be measured", string(n))
}

// write makes weights: those of the measured network as published, but for the number of blocks; all others as small as
// they can be, since the engine wants a complete folder.
func (b *bench) write(ctx context.Context, folder string, n Network) error {
	b.Weights = folder
	d, all := b.dims(n)
	b.report.Blocks, b.report.AllBlocks = all, all
	if b.Blocks > 0 && b.Blocks < all {
		b.report.Blocks = b.Blocks
	}
	b.report.Synthetic = true
	b.log.Info().Str("folder", folder).Msg("Weights are being made.")
	return weights.WriteSynthetic(ctx, folder, d)
}

// dims are the sizes to write, and how many blocks the measured network has.
func (b *bench) dims(n Network) (d weights.Dims, blocks int) {
	d, published := weights.DemoDims(), weights.PublishedDims()
	d.PassThrough = false
	small, large := d.DiT1B, published.DiT1B
	if b.Size.Variant == inference.Variant17B {
		small, large = d.DiT17B, published.DiT17B
	}
	d.DiT1B, d.DiT17B = nil, nil
	dit := small
	switch n {
	case DiT, E2E, GPU:
		dit, blocks = large, large.Layers
		dit.Layers = limit(dit.Layers, b.Blocks)
	case Text:
		d.UMT5 = published.UMT5
		blocks = d.UMT5.Layers
		d.UMT5.Layers = limit(blocks, b.Blocks)
	case Audio:
		d.Whisper = published.Whisper
	}
	if n == VAE || n == GPU || n == E2E {
		d.VAE = published.VAE
	}
	if n == E2E { // its networks are connected: widths must fit
		bench := weights.BenchDims()
		d.UMT5, d.Whisper = bench.UMT5, bench.Whisper
	}
	if b.Size.Variant == inference.Variant17B {
		d.DiT17B = dit
	} else {
		d.DiT1B = dit
	}
	return d, blocks
}

// limit is n, or most if that is less and not 0.
func limit(n, most int) int {
	if most > 0 {
		return min(n, most)
	}
	return n
}
