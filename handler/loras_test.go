package handler

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// The engine gets the LoRAs in their order, and the quality with its steps.
func TestLoRAsAndQuality(t *testing.T) {
	b := newBench(t)
	sum := strings.Repeat("0f", 32)
	for _, c := range []struct {
		input   string
		quality inference.Quality
		steps   int
		loras   []inference.LoRA
	}{
		{`"loras": [{"name": "b.safetensors", "strength": -0.5}, {"name": "a.safetensors", "sha256": "` + sum + `"}]`, inference.Exact, 50,
			[]inference.LoRA{{Name: "b.safetensors", Strength: -0.5}, {Name: "a.safetensors", Strength: 1, SHA256: sum}}},
		{`"loras": null`, inference.Exact, 50, nil},
		{`"quality": "fast", "variant": "17B"`, inference.Fast, 6, nil},
		{`"quality": "fast", "variant": "17B", "steps": 4`, inference.Fast, 4, nil},
		{`"quality": "exact", "variant": "17B", "steps": 12`, inference.Exact, 12, nil},
		{`"quality": "balanced"`, inference.Balanced, 50, nil},
		{`"quality": "balanced", "variant": "17B", "steps": 30`, inference.Balanced, 30, nil},
	} {
		result, err := b.handle(t, `{`+valid+c.input+`, "seed": `+string(rune('1'+len(b.engine.specs)))+`}`)
		if err != nil {
			t.Fatal(err)
		}
		got := b.engine.specs[len(b.engine.specs)-1]
		if diff := cmp.Diff(c.loras, got.LoRAs); diff != "" || got.Quality != c.quality || got.Steps != c.steps || result.Quality != c.quality {
			t.Errorf("%s: quality %s, %d steps, the result says %s (-want +got)\n%s", c.input, got.Quality, got.Steps, result.Quality, diff)
		}
	}
}

func TestLoRAProblems(t *testing.T) {
	b := newBench(t)
	for _, c := range []badInput{
		{`"loras": [{"name": "../a.safetensors"}]`, CodeInvalidSource, "loras[0].name", "no plain file name"},
		{`"loras": [{"name": "a.safetensors"}, {"name": "a.ckpt"}]`, CodeInvalidSource, "loras[1].name", "does not end in .safetensors"},
		{`"loras": [{}]`, CodeMissingField, "loras[0].name", "is missing"},
		{`"loras": [{"name": "a.safetensors", "strength": 5}]`, CodeOutOfRange, "loras[0].strength", "from -4 to 4"},
		{`"loras": [{"name": "a.safetensors", "strengths": 1}]`, CodeUnknownField, "loras[0].strengths", `did you mean "strength"`},
		{`"loras": [{"name": "a.safetensors", "sha256": "AB"}]`, CodeWrongType, "loras[0].sha256", "64 digits"},
		{`"loras": {"name": "a.safetensors"}`, CodeWrongType, "loras", "must be a list"},
		{`"quality": "fast", "variant": "1.7B"`, CodeUnknownValue, "quality", "no step-distilled LoRA exists"},
		{`"quality": "fast", "variant": "17B", "steps": 9`, CodeOutOfRange, "steps", "from 4 to 8"},
		{`"quality": "fast", "variant": "17B", "diffusion.timesteps.sampling.steps": 3`, CodeOutOfRange, "diffusion.timesteps.sampling.steps", "from 4 to 8"},
	} {
		_, err := b.handle(t, `{`+valid+c.input+`}`)
		c.check(t, err)
	}
	if len(b.engine.specs) > 0 {
		t.Errorf("the engine was asked: %+v", b.engine.specs)
	}
}

// Steps of the endpoint's configuration are for exact clips, unless a fast one can have them.
func TestFastByConfiguration(t *testing.T) {
	for file, want := range map[string]int{"steps: 40": 6, "steps: 5": 5, "fps: 25": 6} {
		path := filepath.Join(t.TempDir(), "config.yaml")
		plant(t, path, []byte("quality: fast\nvariant: 17B\nloras: [{name: a.safetensors}]\n"+file))
		b := newBenchWith(t, Config{File: path})
		if _, err := b.handle(t, `{`+valid+`"seed": 1}`); err != nil {
			t.Fatal(err)
		}
		if got := b.engine.specs[0]; got.Steps != want || got.Quality != inference.Fast || len(got.LoRAs) != 1 {
			t.Errorf("%s: %+v", file, got)
		}
	}
}

// The manifest says what the engine says of the adapters; another strength is another clip.
func TestManifestSaysLoRAs(t *testing.T) {
	b := newBench(t)
	told := []inference.LoRA{{Name: "a.safetensors", Strength: 0.5, SHA256: strings.Repeat("ab", 32)}}
	b.Handler.engine = loraEngine{b.engine, told}
	job := func(strength string) string {
		return `{` + valid + `"seed": 1, "variant": "17B", "quality": "fast", "loras": [{"name": "a.safetensors", "strength": ` + strength + `}]}`
	}
	hashes := map[string]bool{}
	for _, strength := range []string{"0.5", "0.50", "0.6"} {
		if _, err := b.handle(t, job(strength)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(b.out, "job-1/manifest.json"))
		if err != nil {
			t.Fatal(err)
		}
		var m Manifest
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(told, m.Parameters.LoRAs); diff != "" || m.Parameters.Quality != inference.Fast {
			t.Errorf("quality %s, LoRAs (-want +got)\n%s", m.Parameters.Quality, diff)
		}
		hashes[m.InputSHA256] = true
	}
	if len(hashes) != 2 || len(b.engine.specs) != 2 {
		t.Errorf("%d input hashes and %d clips, want 2 of each", len(hashes), len(b.engine.specs))
	}
}

// A LoRA that is not there is told by a dry run, too.
func TestDryRunLooksForLoRAs(t *testing.T) {
	b := newBench(t)
	b.engine.broken = fault.New("lora_not_found", "loras[0]", "is not there")
	_, err := b.handle(t, `{`+valid+`"dry_run": true, "loras": [{"name": "a.safetensors"}]}`)
	badInput{"dry run", "lora_not_found", "loras[0]", "is not there"}.check(t, err)
}

// loraEngine tells which adapters made a clip.
type loraEngine struct {
	*engine
	told []inference.LoRA
}

func (e loraEngine) Generate(ctx context.Context, spec inference.Spec, observe func(inference.Progress)) (*inference.Clip, error) {
	clip, err := e.engine.Generate(ctx, spec, observe)
	if clip != nil {
		clip.LoRAs = e.told
	}
	return clip, err
}
