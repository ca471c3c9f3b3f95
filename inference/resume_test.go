package inference

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/sampler"
)

// A clip that is broken off and resumed from bytes ends in the same mp4 as one that is not.
func TestResumeEndsInTheSameBytes(t *testing.T) {
	whole := spec(t)
	whole.Steps = 6
	e := openEngine(t)
	if _, err := e.Generate(t.Context(), whole, ignore); err != nil {
		t.Fatal(err)
	}

	var stored []byte
	broken := spec(t)
	broken.Steps, broken.SaveEvery = 6, 2
	ctx, cancel := context.WithCancel(t.Context())
	broken.Save = func(c *Checkpoint) {
		if stored != nil {
			return
		}
		var err error
		if stored, err = c.MarshalBinary(); err != nil {
			t.Error(err)
		}
		cancel()
	}
	if _, err := e.Generate(ctx, broken, ignore); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	e.models = map[Variant]*Models{} // as another process would start

	resumed := spec(t)
	resumed.Steps, resumed.Resume = 6, new(Checkpoint)
	if err := resumed.Resume.UnmarshalBinary(stored); err != nil {
		t.Fatal(err)
	}
	first := -1
	if _, err := e.Generate(t.Context(), resumed, func(p Progress) {
		if p.Stage == StageDenoise && p.Steps > 0 && first < 0 {
			first = p.Step
		}
	}); err != nil {
		t.Fatal(err)
	}
	if first != 2*4 {
		t.Errorf("denoising went on at pass %d, want 8: two steps of four passes were done", first)
	}
	if !slices.Equal(read(t, whole.OutputPath), read(t, resumed.OutputPath)) {
		t.Error("the resumed clip differs from the uninterrupted one")
	}

	// A checkpoint of another clip is not used.
	other := resumed
	other.Seed++
	first = -1
	if _, err := e.Generate(t.Context(), other, func(p Progress) {
		if p.Stage == StageDenoise && p.Steps > 0 && first < 0 {
			first = p.Step
		}
	}); err != nil {
		t.Fatal(err)
	}
	if first != 0 {
		t.Errorf("another seed started at pass %d", first)
	}
}

func TestCheckpointRefusesOtherBytes(t *testing.T) {
	c := &Checkpoint{Fingerprint: "f", Latents: []float32{1, 2}, Solver: sampler.State{Step: 3, Order: 2, Corrected: []float32{3, 4}, Predictions: [][]float32{{5, 6}, {7, 8}}}}
	good, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var back Checkpoint
	if err := back.UnmarshalBinary(good); err != nil || back.Solver.Predictions[1][1] != 8 || back.Latents[1] != 2 || back.Solver.Step != 3 {
		t.Errorf("%+v, %v", back, err)
	}
	for cut := range good {
		if err := new(Checkpoint).UnmarshalBinary(good[:cut]); fault.CodeOf(err) != "bad_checkpoint" {
			t.Errorf("the first %d bytes were accepted: %v", cut, err)
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if err := new(Checkpoint).UnmarshalBinary(bad); fault.CodeOf(err) != "bad_checkpoint" {
			t.Errorf("a change of byte %d was accepted: %v", i, err)
		}
	}
}

// Previews come every n steps but the last, at the size of the latents, and are no flat colour.
func TestPreviews(t *testing.T) {
	s := spec(t)
	s.Steps, s.PreviewEvery = 5, 2
	var steps []int
	s.Preview = func(step int, p *media.Picture) {
		steps = append(steps, step)
		if p.Width != s.Width/8 || p.Height != s.Height/8 {
			t.Errorf("the preview is %dx%d", p.Width, p.Height)
		}
		if slices.Max(p.RGB)-slices.Min(p.RGB) < 20 {
			t.Error("the preview is flat")
		}
	}
	if _, err := openEngine(t).Generate(t.Context(), s, ignore); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(steps, []int{2, 4}) {
		t.Errorf("previews after steps %v", steps)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
