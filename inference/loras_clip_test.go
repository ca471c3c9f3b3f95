package inference

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Through Generate: a fast clip is one pass a step, takes the folder's distilled adapter by itself, and says what made it.
func TestFast(t *testing.T) {
	e, dir := workshop(t)
	m, err := e.Models(Variant17B)
	if err != nil {
		t.Fatal(err)
	}
	const published = "Wan21_I2V_14B_lightx2v_cfg_step_distill_lora_rank64.safetensors"
	for _, mode := range []Mode{TA, TIA} {
		s := spec(t)
		s.Variant, s.Quality, s.Mode, s.Steps, s.Frames = Variant17B, Fast, mode, 4, 5
		if mode == TA {
			s.ImagePaths = nil
		}
		if err := os.RemoveAll(filepath.Join(dir, published)); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Generate(t.Context(), s, ignore); fault.CodeOf(err) != "lora_not_found" || !strings.Contains(err.Error(), published) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", mode, err)
		}
		writeTensors(t, filepath.Join(dir, published), true, styles["peft"](adapter(rand.New(rand.NewPCG(1, 2)), m.Transformer.ix, 2, 0)))
		total := 0
		clip, err := e.Generate(t.Context(), s, func(p Progress) {
			if p.Stage == StageDenoise {
				total = max(total, p.Steps)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if total != 4 {
			t.Errorf("%s: %d passes, want one for each of 4 steps", mode, total)
		}
		if len(clip.LoRAs) != 1 || clip.LoRAs[0].Name != published || clip.LoRAs[0].Strength != 1 || len(clip.LoRAs[0].SHA256) != 64 {
			t.Errorf("%s: made with %+v", mode, clip.LoRAs)
		}
		if len(s.LoRAs) != 0 {
			t.Errorf("%s: the caller's spec was changed: %+v", mode, s.LoRAs)
		}
		cost, err := e.Estimate(t.Context(), s)
		if err != nil || cost.Passes != 1 {
			t.Errorf("%s: %+v, %v", mode, cost, err)
		}
	}
	s := spec(t)
	s.Quality, s.LoRAs = Fast, []LoRA{{Name: published, Strength: 1}}
	if _, err := e.Generate(t.Context(), s, ignore); fault.CodeOf(err) != "invalid_input" || !strings.Contains(err.Error(), "17B") {
		t.Errorf("fast 1.7B: %v", err)
	}
}

// Through Generate: an adapter changes the clip, at strength 0 it does not, and a changed file has another hash.
func TestGenerateWithLoRA(t *testing.T) {
	e, dir := workshop(t)
	m, err := e.Models(Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	make := func(loras ...LoRA) (latents []float32, told []LoRA) {
		t.Helper()
		s := spec(t)
		s.Frames, s.LoRAs = 5, loras
		in, err := Decode(t.Context(), &s)
		if err != nil {
			t.Fatal(err)
		}
		out, err := e.Denoise(t.Context(), &s, in, func(Stage) func(int, int) { return func(int, int) {} })
		if err != nil {
			t.Fatal(err)
		}
		return out.Data, s.LoRAs
	}
	file := filepath.Join(dir, "a.safetensors")
	writeTensors(t, file, true, styles["kohya"](adapter(rand.New(rand.NewPCG(3, 4)), m.Transformer.ix, 4, 4)))
	plain, _ := make()
	off, _ := make(LoRA{Name: "a.safetensors"})
	on, told := make(LoRA{Name: "a.safetensors", Strength: 1})
	if !slices.Equal(plain, off) {
		t.Error("strength 0 is not bit-equal to none")
	}
	if slices.Equal(plain, on) {
		t.Error("the adapter changes nothing")
	}
	writeTensors(t, file, true, styles["kohya"](adapter(rand.New(rand.NewPCG(4, 4)), m.Transformer.ix, 3, 4)))
	if _, again := make(LoRA{Name: "a.safetensors", Strength: 1}); again[0].SHA256 == told[0].SHA256 || len(told[0].SHA256) != 64 {
		t.Errorf("another file's hash is %s, the first one's %s", again[0].SHA256, told[0].SHA256)
	}
	s := spec(t)
	s.LoRAs = told
	if _, err := e.Generate(t.Context(), s, ignore); fault.CodeOf(err) != "lora_changed" {
		t.Errorf("a file with another hash than was asked for: %v", err)
	}
	if mark(t, told) == mark(t, nil) {
		t.Error("a checkpoint of a clip with a LoRA would be taken for one without")
	}
}

func mark(t *testing.T, loras []LoRA) string {
	t.Helper()
	text, err := fingerprint(&Spec{LoRAs: loras}, &Material{}, 5, FP32)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
