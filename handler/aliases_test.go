package handler

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference"
)

// TestAliases: the original's names, as a tree, in dotted form, and half way, make the job that the contract's make.
func TestAliases(t *testing.T) {
	const media = `"prompt": "p", "audio_path": "./voice.wav", "img_paths": ["face.png"], `
	want := inference.Spec{
		Mode: inference.TIA, Variant: inference.Variant17B, Prompt: "p", NegativePrompt: "blurry",
		Frames: 18, Width: 64, Height: 96, FPS: 20, Steps: 3, Shift: 4.5, Seed: 11,
		ScaleT: 1, ScaleA: 2, ScaleI: 3, StepChange: 900, Quality: inference.Exact, CRF: 18,
	}
	for name, input := range map[string]string{
		"tree": `{` + media + `"model": {"variant": "17B"}, "generation": {"mode": "TIA", "seed": 11, "frames": 18, "fps": 20, "height": 96, "width": 64,
			"sample_neg_prompt": "blurry", "scale_t": 1, "scale_a": 2, "scale_i": 3, "step_change": 900},
			"diffusion": {"timesteps": {"sampling": {"steps": 3, "shift": 4.5}}}}`,
		"dotted": `{` + media + `"model.variant": "17B", "generation.mode": "TIA", "generation.seed": 11, "generation.frames": 18, "generation.fps": 20,
			"generation.height": 96, "generation.width": 64, "generation.sample_neg_prompt": "blurry", "generation.scale_t": 1, "generation.scale_a": 2,
			"generation.scale_i": 3, "generation.step_change": 900, "diffusion.timesteps.sampling.steps": 3, "diffusion.timesteps.sampling.shift": 4.5}`,
		"mixed": `{"prompt": "p", "audio": "volume:voice.wav", "image_path": "/face.png", "variant": "17B", "generation": {"seed": 11, "frames": 18, "step_change": 900}, "generation.fps": 20,
			"height": 96, "width": 64, "negative_prompt": "blurry", "scale_t": 1, "generation.scale_a": 2, "scale_i": 3,
			"diffusion": {"timesteps.sampling": {"steps": 3}}, "diffusion.timesteps": {"sampling.shift": 4.5}}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if _, err := b.handle(t, input); err != nil {
				t.Fatal(err)
			}
			got := b.engine.specs[0]
			want.AudioPath, want.ImagePaths, want.OutputPath = got.AudioPath, got.ImagePaths, got.OutputPath
			if diff := cmp.Diff(want, got); diff != "" || len(got.ImagePaths) != 1 {
				t.Errorf("the engine was asked for (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAutoFrames: -1 is the original's word for the length of the audio; here it is a mistake.
func TestAutoFrames(t *testing.T) {
	b := newBench(t)
	if _, err := b.handle(t, `{`+valid+`"generation.frames": -1}`); err != nil || b.engine.specs[0].Frames != 37 {
		t.Errorf("%d frames, error %v", b.engine.specs[0].Frames, err)
	}
	_, err := b.handle(t, `{`+valid+`"frames": -1}`)
	badInput{`"frames": -1`, CodeOutOfRange, "frames", "is -1"}.check(t, err)
}

func TestProblemsOfAliases(t *testing.T) {
	for _, c := range []badInput{
		{`{` + valid + `"generation": {"frame": 5}}`, "unknown_field", "generation.frame", `did you mean "frames"?`},
		{`{` + valid + `"generation.frame": 5}`, "unknown_field", "generation.frame", `did you mean "generation.frames"?`},
		{`{` + valid + `"diffusion": {"timesteps": {"sampling": {"step": 5}}}}`, "unknown_field", "diffusion.timesteps.sampling.step", `did you mean "steps"?`},
		{`{` + valid + `"generations": {"frames": 5}}`, "unknown_field", "generations", `did you mean "generation"?`},
		{`{` + valid + `"generation": 5}`, "wrong_type", "generation", "must be a JSON object"},
		{`{` + valid + `"generation": {"frames": 1001}}`, "out_of_range", "generation.frames", "1 to 1000"},
		{`{` + valid + `"generation": {"frames": 5}, "generation.frames": 5}`, "duplicate_field", "generation.frames", "given twice"},
		{`{` + valid + `"generation": {"frames": 5}, "frames": 5}`, "duplicate_field", "generation.frames", `another name of "frames"`},
		{`{` + valid + `"generation": {"batch_size": 1}}`, "unknown_field", "generation.batch_size", "has no effect here; leave it out"},
		{`{` + valid + `"dit": {"sp_size": 1}}`, "unknown_field", "dit", "has no effect here; leave it out"},
		{`{` + valid + `"s3Config": {}}`, "unknown_field", "s3Config", "belongs beside the input"},
	} {
		_, problems := parse(Job{Input: []byte(c.input)}, Config{})
		if len(problems) == 0 {
			c.check(t, nil)
		} else {
			c.check(t, problems)
		}
	}
}

// TestProblemsInOrder: many problems at all depths come in the contract's order, every time the same.
func TestProblemsInOrder(t *testing.T) {
	input := json.RawMessage(`{"generation": {"width": 7, "height": 7, "fps": 0, "seed": -1}, "diffusion": {"timesteps": {"sampling": {"shift": 0, "steps": 0}}},
		"output": {"expires_in": 5, "upload_url": "x", "crf": 0}, "step_change": 0, "isolate_vocals": 1}`)
	want := []string{
		"invalid_size generation.width", "invalid_size generation.height", "out_of_range generation.fps", "out_of_range diffusion.timesteps.sampling.steps",
		"out_of_range diffusion.timesteps.sampling.shift", "out_of_range generation.seed", "out_of_range step_change", "wrong_type isolate_vocals",
		"out_of_range output.crf", "invalid_url output.upload_url", "out_of_range output.expires_in", "missing_field prompt", "missing_field audio",
	}
	for range 20 {
		_, problems := parse(Job{Input: input}, Config{})
		var got []string
		for _, p := range problems {
			got = append(got, p.Code+" "+p.Field)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("problems (-want +got):\n%s", diff)
		}
	}
}

// TestEveryFieldIsDescribed: forms and schemas are made of the table.
func TestEveryFieldIsDescribed(t *testing.T) {
	for _, f := range append(append([]*field{}, fields...), outputFields...) {
		if f.title == "" || !strings.HasSuffix(f.doc, ".") {
			t.Errorf("%s: title %q, description %q", f.name, f.title, f.doc)
		}
	}
}
