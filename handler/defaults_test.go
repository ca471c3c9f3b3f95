package handler

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference"
)

// original has the keys of the original's generate.yaml (and those of generate_1_7B.yaml beyond), with other values.
const original = `
__object__:
  path: humo.generate
  name: Generator

dit:
  model:
    __inherit__: humo/configs/models/Wan_14B_I2V.yaml
    __object__:
      path: humo.models.wan_modules.model_humo
      name: WanModel
    insert_audio: True
  zero_vae_path: ./weights/HuMo/zero_vae_129frame.pt
  zero_vae_720p_path: ./weights/HuMo/zero_vae_720p_161frame.pt
  checkpoint_dir: ./weights/HuMo/HuMo-17B # a comment
  compile: False
  init_with_meta_device: True
  gradient_checkpoint: True
  fsdp:
    sharding_strategy: _HYBRID_SHARD_ZERO2
  sp_size: 8
vae:
  checkpoint: ./weights/Wan2.1-T2V-1.3B/Wan2.1_VAE.pth
  vae_stride: [ 4, 8, 8 ]
  scaling_factor: 0.9152
  compile: False
  grouping: True
  use_sample: False
  dtype: bfloat16
text:
  t5_checkpoint: ./weights/Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth
  t5_tokenizer: ./weights/Wan2.1-T2V-1.3B/google/umt5-xxl
  dropout: 0.1
  dtype: bfloat16
  fsdp:
    enabled: True
    sharding_strategy: HYBRID_SHARD
diffusion:
  schedule:
    type: lerp
    T: 1000.0
  sampler:
    type: euler
    prediction_type: v_lerp
  timesteps:
    training:
      type: logitnormal
      loc: 0.0
      scale: 1.0
    sampling:
      type: uniform_trailing
      steps: 40
      shift: 4.0
audio:
  vocal_separator: ./weights/audio_separator/Kim_Vocal_2.onnx
  wav2vec_model: ./weights/whisper-large-v3
generation:
  mode: "TIA"  # TA, TIA
  extract_audio_feat: True
  seed: 777
  frames: 81
  fps: 24
  height: 720 # 480
  width: 1280 # 832
  batch_size: 1
  sequence_parallel: 8
  output:
    dir: ./output
  positive_prompt: ./examples/test_case.json
  sample_neg_prompt: '静态，细节'
  scale_a: 5.6
  scale_t: 5.1
  step_change: 970
`

func TestConfigFile(t *testing.T) {
	const job = `"prompt": "p", "audio": "volume:voice.wav"`
	const pictures = `, "images": "volume:face.png"`
	full := inference.Spec{
		Mode: inference.TIA, Variant: inference.Variant17B, Prompt: "p", NegativePrompt: "静态，细节",
		Frames: 81, Width: 1280, Height: 720, FPS: 24, Steps: 40, Shift: 4, Seed: 777, ScaleT: 5.1, ScaleA: 5.6, ScaleI: 4, StepChange: 970, Quality: inference.Exact, CRF: 18,
	}
	plain := inference.Spec{
		Mode: inference.TA, Variant: inference.Variant1B, Prompt: "p", Frames: 97, Width: 832, Height: 480, FPS: 25, Steps: 50, Shift: 5, Seed: 9,
		ScaleT: 7.5, ScaleA: 7.5, ScaleI: 4, StepChange: 980, Quality: inference.Exact, CRF: 18,
	}
	for _, c := range []struct {
		name, file string
		variant    inference.Variant // the setting
		job        string
		from       inference.Spec
		but        func(*inference.Spec)
	}{
		{"the original's", original, "", job + pictures, full, nil},
		{"the job wins", original, "", job + `, "mode": "TA", "generation": {"width": 64}, "height": 64, "seed": 1, "scale_a": 2, "negative_prompt": "x"`, full, func(s *inference.Spec) {
			s.Mode, s.Width, s.Height, s.Seed, s.ScaleA, s.NegativePrompt = inference.TA, 64, 64, 1, 2, "x"
		}},
		{"another variant's scales are its own", original, "", job + pictures + `, "variant": "1.7B"`, full, func(s *inference.Spec) {
			s.Variant, s.ScaleT, s.ScaleA = inference.Variant1B, 7.5, 7.5
		}},
		{"the environment wins", original, "1.7B", job + pictures, full, func(s *inference.Spec) {
			s.Variant, s.ScaleT, s.ScaleA = inference.Variant1B, 7.5, 7.5
		}},
		{"the original's 1.7B", strings.Replace(original, "humo.generate", "humo.generate_1_7B", 1) + "  scale_i: 3.0\n", "", job + pictures, full, func(s *inference.Spec) {
			s.Variant, s.ScaleI = inference.Variant1B, 3
		}},
		{"dotted", "model.variant: 17B\ngeneration.frames: 9\ngeneration.scale_t: 1\ndiffusion.timesteps.sampling.steps: 3\ngeneration.sequence_parallel: 2", "", job + `, "seed": 9`, plain, func(s *inference.Spec) {
			s.Variant, s.Frames, s.Steps, s.ScaleT, s.ScaleA = inference.Variant17B, 9, 3, 1, 5.5
		}},
		{"the contract's names, no variant", `{"frames": "auto", "scale_t": 1, "isolate_vocals": true}`, "17B", job + `, "seed": 9`, plain, func(s *inference.Spec) {
			s.Variant, s.Frames, s.ScaleT, s.ScaleA, s.IsolateVocals = inference.Variant17B, 37, 1, 5.5, true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "generate.yaml")
			plant(t, path, []byte(c.file))
			b := newBenchWith(t, Config{Variant: c.variant, File: path})
			if _, err := b.handle(t, "{"+c.job+"}"); err != nil {
				t.Fatal(err)
			}
			got, want := b.engine.specs[0], c.from
			if c.but != nil {
				c.but(&want)
			}
			want.AudioPath, want.ImagePaths, want.OutputPath = got.AudioPath, got.ImagePaths, got.OutputPath
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the engine was asked for (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConfigFileMode: a mode that the configuration sets is not changed silently.
func TestConfigFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "generate.yaml")
	plant(t, path, []byte("mode: TIA"))
	_, err := newBenchWith(t, Config{File: path}).handle(t, `{`+valid+`"seed": 1}`)
	badInput{"TIA by configuration", CodeImagesMissing, "images", "the endpoint's configuration sets the mode"}.check(t, err)
}

// TestConfigFileCards: the worker's cards come from the file, in both forms.
func TestConfigFileCards(t *testing.T) {
	for file, want := range map[string]int{original: 8, "dit.sp_size: 2": 2, "dit: {sp_size: 3}": 3, "frames: 9": 0} {
		path := filepath.Join(t.TempDir(), "generate.yaml")
		plant(t, path, []byte(file))
		if got, err := (Config{File: path}).Cards(); err != nil || got != want {
			t.Errorf("%.40q: %d cards, error %v; want %d", file, got, err, want)
		}
	}
	if got, err := (Config{}).Cards(); err != nil || got != 0 {
		t.Errorf("without a file: %d cards, error %v", got, err)
	}
}

func TestConfigFileProblems(t *testing.T) {
	for _, c := range []struct {
		file string
		says []string
	}{
		{"generation:\n  frame: 97\n  widht: 64\n", []string{`generation.frame: is not a known field; did you mean "frames"?`, `generation.widht: is not a known field; did you mean "width"?`}},
		{"frames: many\nseed: -1\n", []string{"frames: must be a whole number", "seed: is -1; it must be"}},
		{"vae:\n  scaling_facto: 1\n", []string{`vae.scaling_facto: is not a known field; did you mean "scaling_factor"?`}},
		{"prompt: p\n", []string{"prompt: is not a known field"}},
		{"frames: 1\ngeneration.frames: 2\n", []string{`generation.frames: is another name of "frames"`}},
		{"dit:\n  sp_size: 0\n", []string{"dit.sp_size: is 0; it must be"}},
		{"dit.sp_size: many\n", []string{"dit.sp_size: is "}},
		{"dit:\n  sp_size: [1]\n", []string{"dit.sp_size: is "}},
		{"dit: {sp_size: 1.5}\n", []string{"dit.sp_size: is 1.5; it must be"}},
		{"a: &a [1, 1]\nb: [*a, *a]\n", []string{"line 2 of the configuration file has an alias"}},
		{"frames: [\n", []string{"is not valid YAML"}},
		{"- a\n", []string{"must be a JSON object"}},
		{strings.Repeat("# long\n", 200_000), []string{"more than 1048576 bytes"}},
	} {
		path := filepath.Join(t.TempDir(), "generate.yaml")
		plant(t, path, []byte(c.file))
		err := Config{File: path}.Validate()
		if err == nil {
			t.Errorf("%.40q: no error", c.file)
			continue
		}
		if problems := ProblemsOf(err); len(problems) != len(c.says) || problems[0].Code != "invalid_setting" || problems[0].Field != path {
			t.Errorf("%.40q: %v, want %d problems", c.file, problems, len(c.says))
		}
		for _, says := range c.says {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%.40q: %q does not say %q", c.file, err, says)
			}
		}
	}
	if err := (Config{File: "/nowhere/generate.yaml"}).Validate(); err == nil || !strings.Contains(err.Error(), "HUMO_CONFIG") {
		t.Errorf("a missing file: %v", err)
	}
}
