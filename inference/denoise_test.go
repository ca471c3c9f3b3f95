package inference

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/sampler"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// denoised makes the latents of a spec's clip and the counts that its observer saw while denoising.
func denoised(t *testing.T, e *Engine, s Spec) (latents []float32, seen []int) {
	t.Helper()
	in, err := Decode(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	z, err := e.Denoise(t.Context(), &s, in, func(stage Stage) func(done, total int) {
		return func(done, _ int) {
			if stage == StageDenoise {
				seen = append(seen, done)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return z.Data, seen
}

// Passes side by side give the numbers of passes one after the other, bit for bit, and are counted as evenly. A device has
// sessions of its own; here all are the CPU.
func TestSideBySide(t *testing.T) {
	e := openEngine(t)
	one := e.devices
	for _, test := range []struct {
		variant Variant
		mode    Mode
		quality Quality
		devices int
	}{{Variant1B, TIA, Exact, 2}, {Variant1B, TA, Exact, 3}, {Variant17B, TIA, Exact, 2}, {Variant17B, TA, Exact, 8}} {
		s := spec(t)
		s.Frames = 5
		if s.Variant, s.Mode, s.Quality = test.variant, test.mode, test.quality; s.Mode == TA {
			s.ImagePaths = nil
		}
		e.devices = one
		want, _ := denoised(t, e, s)
		for range test.devices - 1 {
			e.devices = append(e.devices, cpu(checkpoint.F32))
		}
		got, seen := denoised(t, e, s)
		if !slices.Equal(got, want) {
			t.Errorf("%s %s: %d devices give other numbers than one", test.variant, test.mode, test.devices)
		}
		guidance, err := sampler.NewPlanOf(s.Quality, s.Variant, s.Mode, sampler.DefaultScales(s.Variant))
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range seen {
			if n != i {
				t.Fatalf("%s %s: the observer saw %v", test.variant, test.mode, seen)
			}
		}
		if len(seen) != 1+s.Steps*len(guidance.Passes) {
			t.Errorf("%s %s: the observer saw %v", test.variant, test.mode, seen)
		}
	}
	e.devices = one
}

// twoLanes is a denoiser on two devices, and latents for it. Its steps have ten times the 1.7B's four passes, so that it shows
// when they are stopped.
func twoLanes(t *testing.T) (*denoiser, *Latent) {
	t.Helper()
	e := openEngine(t)
	m, err := e.Models(Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	guidance, err := sampler.NewPlan(Variant1B, TIA, sampler.DefaultScales(Variant1B))
	if err != nil {
		t.Fatal(err)
	}
	guidance.Passes = slices.Repeat(guidance.Passes, 50)
	const frames, height, width = 4, 4, 6
	text := &TextEmbedding{}
	c := &conditions{prompt: text, negative: text, windows: make([]float32, frames*int(m.Transformer.net.AudioFeatures())), refs: NewLatent(1, height, width)}
	d, err := newDenoiser(t.Context(), m.Transformer, []*device{cpu(checkpoint.F32), cpu(checkpoint.F32)}, guidance, c, frames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, NewLatent(frames, height, width)
}

// An error on one device stops the others and is the one that is told.
func TestErrorStopsOtherDevices(t *testing.T) {
	d, latents := twoLanes(t)
	if err := d.lanes[1].forward.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := d.lanes[0].forward.t.Prepare(t.Context(), wan.Grid{Frames: 2, Height: 4, Width: 6}) // of another size: it refuses the latents
	if err != nil {
		t.Fatal(err)
	}
	d.lanes[1].forward = other
	ended := 0
	_, err = d.passes(t.Context(), latents, 500, func() { ended++ })
	if errors.Is(err, context.Canceled) || err == nil || ended >= 100 {
		t.Errorf("%d passes ended, error %v", ended, err)
	}
}

// Cancelling stops all devices, and the denoiser stays usable.
func TestCancelStopsAllDevices(t *testing.T) {
	d, latents := twoLanes(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := 0
	_, err := d.passes(ctx, latents, 500, func() { ended++; cancel() })
	if !errors.Is(err, context.Canceled) || ended >= 100 {
		t.Errorf("%d passes ended, error %v", ended, err)
	}
	if outputs, err := d.passes(t.Context(), latents, 500, func() {}); err != nil || len(outputs) != 200 {
		t.Errorf("afterwards: %d outputs, %v", len(outputs), err)
	}
}
