package bench

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// gpu times what a card does in a clip: attention and a linear layer alone, a pass of the transformer, the decoding.
func (b *bench) gpu(ctx context.Context) error {
	width, inner := b.widths()
	tokens := int64(b.Size.Tokens())
	for _, part := range []struct {
		name string
		make func() (*runner, error)
	}{
		{"attention alone", func() (*runner, error) { return b.attention(ctx, tokens, width, wan.HeadDim) }},
		{"linear alone", func() (*runner, error) { return b.linear(ctx, tokens, width, inner) }},
	} {
		if _, err := b.alone(ctx, part.name, part.make); err != nil {
			return err
		}
	}
	b.report.Results[0].AttentionKernel = b.kernel
	if err := b.dit(ctx); err != nil {
		return err
	}
	b.report.Results[len(b.report.Results)-1].AttentionKernel = b.kernel
	return b.vae(ctx)
}

// alone times a part of the transformer.
func (b *bench) alone(ctx context.Context, name string, prepare func() (*runner, error)) (result *Result, err error) {
	r, err := prepare()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return b.time(ctx, task{name: name, flop: r.flop, run: func(ctx context.Context) error {
		_, err := r.Run(ctx)
		return err
	}})
}

// kernelEntry makes ONNX Runtime print which kernel an attention runs on. It is read when the first one is made, and there
// is no other way to learn it.
const kernelEntry = "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO"

var kernelLine = regexp.MustCompile(`SdpaKernel=(\w+)`)

// probe learns the kernel, in a process of its own: the printing cannot be stopped again. It fails where there is no card,
// before weights are made.
func (b *bench) probe(ctx context.Context) error {
	out, err := b.Probe(ctx)
	if err != nil {
		return err
	}
	if m := kernelLine.FindSubmatch(out); m != nil {
		b.kernel = string(m[1])
	}
	return nil
}

// TooLarge reports whether a measurement failed because there is not enough memory for it.
func TooLarge(err error) bool {
	return fault.CodeOf(err) == "out_of_memory" || err != nil && strings.Contains(err.Error(), "Failed to allocate memory")
}

// ProbeAttention runs attention of a size once, so that ONNX Runtime prints the kernel's name to the standard output.
func ProbeAttention(ctx context.Context, cfg inference.Config, size Size, log zerolog.Logger) (err error) {
	if err := os.Setenv(kernelEntry, "1"); err != nil {
		return err
	}
	b := &bench{Options: Options{Size: size}, log: log}
	if b.engine, err = inference.Open(cfg, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.engine.Close()) }()
	b.rt, b.where, b.dtype = b.engine.Primary()
	if b.where == (ort.Place{}) {
		return fault.New("no_gpu", "", "there is no card that ONNX Runtime can compute on here, or HUMO_GPUS is none; "+
			"`doctor` says more. On the CPU, measure with bench dit, vae, text, audio or e2e")
	}
	width, _ := b.widths()
	r, err := b.attention(ctx, int64(size.Tokens()), width, wan.HeadDim)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = r.Run(ctx)
	return err
}
