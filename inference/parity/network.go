package parity

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// models opens the networks of the variant that the case's config names.
func models(c *golden.Case, e *inference.Engine) (*inference.Models, error) {
	var config struct{ Variant string }
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	v, err := variant(config.Variant)
	if err != nil {
		return nil, err
	}
	return e.Models(v)
}

func variant(name string) (inference.Variant, error) {
	switch name {
	case "1_7b":
		return inference.Variant1B, nil
	case "17b":
		return inference.Variant17B, nil
	}
	return "", fmt.Errorf("unknown variant %q", name)
}

// take copies a tensor's numbers, which live only until it is closed.
func take(t *ort.Tensor) []float32 { return slices.Clone(t.Float32s()) }

// transformerCase runs a whole forward pass, or block 0 alone if the case gives a block's inputs.
func transformerCase(ctx context.Context, e *inference.Engine, c *golden.Case) (outputs, error) {
	m, err := models(c, e)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(c.Name, "_block0") {
		return blockCase(ctx, m, c)
	}
	latents, shape, err := c.Floats("in.x")
	if err != nil {
		return nil, err
	}
	if len(shape) != 4 {
		return nil, fmt.Errorf("in.x has the shape %v, want [16, F, h, w]", shape)
	}
	if m.Transformer.Conditioned() {
		y, _, err := c.Floats("in.y")
		if err != nil {
			return nil, err
		}
		latents = append(latents, y...)
	}
	context, contextShape, err := c.Floats("in.context")
	if err != nil {
		return nil, err
	}
	windows, _, err := c.Floats("in.audio")
	if err != nil {
		return nil, err
	}
	t, err := c.Ints("in.t")
	if err != nil {
		return nil, err
	}
	text, err := m.Transformer.TextKeys(ctx, &inference.TextEmbedding{Rows: int(contextShape[0]), Dim: int(contextShape[1]), Data: context})
	if err != nil {
		return nil, err
	}
	defer closeQuietly(text)
	audio, err := m.Transformer.AudioKeys(ctx, windows, int(shape[1]))
	if err != nil {
		return nil, err
	}
	defer closeQuietly(audio)
	forward, err := m.Transformer.Prepare(ctx, wan.Grid{Frames: shape[1], Height: shape[2], Width: shape[3]})
	if err != nil {
		return nil, err
	}
	defer closeQuietly(forward)
	step, err := forward.Step(ctx, int64(t[0]))
	if err != nil {
		return nil, err
	}
	defer closeQuietly(step)
	if err := step.Begin(ctx, latents); err != nil {
		return nil, err
	}
	velocity, err := step.Pass(ctx, text, audio)
	return outputs{"out.pred": golden.Floats(velocity, shape...)}, err
}

// closeQuietly frees memory, which cannot fail in a way that a comparison depends on.
func closeQuietly(c io.Closer) { _ = c.Close() }

func blockCase(ctx context.Context, m *inference.Models, c *golden.Case) (outputs, error) {
	var config struct{ Grid [3]int64 } // in patches
	if err := c.Config(&config); err != nil {
		return nil, err
	}
	in := map[string]*ort.Tensor{}
	for _, name := range []string{"x", "e0", "context", "audio"} {
		data, shape, err := c.Floats("in." + name)
		if err != nil {
			return nil, err
		}
		shape = shape[1:] // the batch of one
		if name == "audio" {
			shape = []int64{config.Grid[0], wan.AudioTokens, shape[1]}
		}
		if in[name], err = ort.FromFloat32s(shape, data); err != nil {
			return nil, err
		}
	}
	grid := wan.Grid{Frames: config.Grid[0], Height: 2 * config.Grid[1], Width: 2 * config.Grid[2]}
	x, err := m.Transformer.Block(ctx, 0, grid, in["x"], in["e0"], in["context"], in["audio"])
	if err != nil {
		return nil, err
	}
	return outputs{"out.x": golden.Floats(take(x), append([]int64{1}, x.Shape()...)...)}, x.Close()
}
