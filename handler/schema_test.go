package handler

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema(Config{})
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("job.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("job.json")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s
}

func check(t *testing.T, s *jsonschema.Schema, input string) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(input))
	if err != nil {
		return err
	}
	return s.Validate(value)
}

// TestSchemaTakesSamples: every sample job is valid.
func TestSchemaTakesSamples(t *testing.T) {
	s := compiled(t)
	samples, err := filepath.Glob("../testinput/*.json")
	if err != nil || len(samples) < 2 {
		t.Fatalf("%d samples, error %v", len(samples), err)
	}
	for _, path := range samples {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var job struct{ Input json.RawMessage }
		if err := json.Unmarshal(data, &job); err != nil {
			t.Fatal(err)
		}
		if err := check(t, s, string(job.Input)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestSchemaAgreesWithParse: what the one takes or refuses, the other does too.
func TestSchemaAgreesWithParse(t *testing.T) {
	const https = `"https://example.com/a.png?signature=1"`
	s := compiled(t)
	for _, input := range []string{
		// taken
		`{` + valid + `"seed": 18446744073709551615}`,
		`{` + valid + `"mode": "TA", "variant": "17B", "negative_prompt": "", "frames": "auto", "width": 2048, "height": 16, "fps": 60, "steps": 250, "shift": 0.1}`,
		`{` + valid + `"frames": 97.0, "scale_t": 0, "scale_a": 100, "scale_i": 0.5, "step_change": 1000, "isolate_vocals": true, "dry_run": true}`,
		`{` + valid + `"output": {"format": "mp4", "crf": 51, "upload_url": "HTTPS://example.com/a?b=c", "expires_in": 604800}}`,
		`{` + valid + `"images": [` + https + `, {"data": "AA==", "type": "image/png"}, "data:image/png;base64,AA=="]}`,
		`{` + valid + `"images": ` + https + `, "mode": "TIA"}`,
		`{` + valid + `"images": [], "mode": "TA"}`,
		`{"prompt": "p", "audio_path": "a/b.wav", "img_paths": ["c.png", "volume:d.png"], "generation": {"mode": "TIA"}}`,
		`{"prompt": "p", "audio_path": ` + https + `, "image_path": "c.png"}`,
		`{` + valid + `"generation": {"frames": -1, "width": 64}, "generation.height": 64, "diffusion": {"timesteps": {"sampling": {"steps": 3}}}, "diffusion.timesteps": {"sampling.shift": 4}}`,
		`{` + valid + `"quality": "exact", "loras": [{"name": "A b-1.safetensors"}, {"name": "c.safetensors", "strength": -4, "sha256": "` + strings.Repeat("0f", 32) + `"}]}`,
		`{` + valid + `"variant": "17B", "quality": "fast", "steps": 8, "loras": []}`, `{` + valid + `"quality": "balanced", "steps": 3}`,
		// refused: one a rule
		`{}`, `[]`, `5`,
		`{"audio": "volume:a.wav"}`,
		`{"audio": "volume:a.wav", "prompt": " \n"}`,
		`{"audio": "volume:a.wav", "prompt": 1}`,
		`{"audio": "volume:a.wav", "prompt": "` + strings.Repeat("é", 5001) + `"}`,
		`{"prompt": "p"}`,
		`{"prompt": "p", "audio": "a.wav"}`,
		`{"prompt": "p", "audio": "/a.wav"}`,
		`{"prompt": "p", "audio": "file:///a.wav"}`,
		`{"prompt": "p", "audio": "data:audio/wav;base64"}`,
		`{"prompt": "p", "audio": ["volume:a.wav"]}`,
		`{"prompt": "p", "audio": {"type": "audio/wav"}}`,
		`{"prompt": "p", "audio": {"data": "AA==", "kind": "audio/wav"}}`,
		`{"prompt": "p", "audio": {"data": 5}}`,
		`{"prompt": "p", "audio_path": "ftp://example.com/a.wav"}`,
		`{"prompt": "p", "audio_path": ""}`,
		`{"prompt": "p", "audio_path": ["a.wav"]}`,
		`{` + valid + `"audio_path": "a.wav"}`,
		`{` + valid + `"unknown": 1}`,
		`{` + valid + `"s3Config": {}}`,
		`{` + valid + `"mode": "T"}`,
		`{` + valid + `"variant": "14B"}`,
		`{` + valid + `"negative_prompt": 5}`,
		`{` + valid + `"mode": "TIA"}`,
		`{` + valid + `"mode": "TIA", "images": []}`,
		`{` + valid + `"generation": {"mode": "TIA"}}`,
		`{` + valid + `"mode": "TA", "images": ` + https + `}`,
		`{` + valid + `"generation.mode": "TA", "img_paths": ["a.png"]}`,
		`{` + valid + `"images": [` + strings.Repeat(https+", ", 8) + https + `]}`,
		`{` + valid + `"images": [5]}`,
		`{` + valid + `"images": ` + https + `, "image_path": "a.png"}`,
		`{` + valid + `"frames": 0}`, `{` + valid + `"frames": 1001}`, `{` + valid + `"frames": 1.5}`, `{` + valid + `"frames": "long"}`, `{` + valid + `"frames": -1}`,
		`{` + valid + `"width": 100}`, `{` + valid + `"width": 0}`, `{` + valid + `"height": 2064}`, `{` + valid + `"height": "64"}`,
		`{` + valid + `"fps": 0}`, `{` + valid + `"fps": 61}`,
		`{` + valid + `"steps": 0}`, `{` + valid + `"steps": 251}`,
		`{` + valid + `"shift": 0.05}`, `{` + valid + `"shift": "5"}`,
		`{` + valid + `"seed": -1}`, `{` + valid + `"seed": 18446744073709551616}`, `{` + valid + `"seed": 0.5}`,
		`{` + valid + `"scale_t": -1}`, `{` + valid + `"scale_a": 101}`, `{` + valid + `"scale_i": true}`,
		`{` + valid + `"step_change": 0}`, `{` + valid + `"step_change": 1001}`,
		`{` + valid + `"isolate_vocals": "yes"}`, `{` + valid + `"dry_run": 1}`,
		`{` + valid + `"quality": "best"}`, `{` + valid + `"quality": 1}`, `{` + valid + `"loras": "a.safetensors"}`, `{` + valid + `"loras": ["a.safetensors"]}`,
		`{` + valid + `"loras": [{"strength": 1}]}`, `{` + valid + `"loras": [{"name": "a.safetensors", "weight": 1}]}`, `{` + valid + `"loras": [{"name": 1}]}`, `{` + valid + `"loras": [{"name": "a.safetensors", "sha256": "AB"}]}`,
		`{` + valid + `"loras": [{"name": "a.safetensors", "strength": 4.5}]}`, `{` + valid + `"loras": [{"name": "a.safetensors", "strength": "1"}]}`,
		`{` + valid + `"loras": [{"name": "../a.safetensors"}]}`, `{` + valid + `"loras": [{"name": "/a.safetensors"}]}`, `{` + valid + `"loras": [{"name": "b\\a.safetensors"}]}`,
		`{` + valid + `"loras": [{"name": "https://example.com/a.safetensors"}]}`, `{` + valid + `"loras": [{"name": ".safetensors"}]}`, `{` + valid + `"loras": [{"name": "a.pt"}]}`,
		`{` + valid + `"loras": [{"name": "` + strings.Repeat("a", 250) + `.safetensors"}]}`,
		`{` + valid + `"loras": [` + strings.Repeat(`{"name": "a.safetensors"}, `, 4) + `{"name": "a.safetensors"}]}`,
		`{` + valid + `"output": "mp4"}`, `{` + valid + `"output": {"format": "webm"}}`, `{` + valid + `"output": {"crf": 0}}`, `{` + valid + `"output": {"quality": 5}}`,
		`{` + valid + `"output": {"upload_url": "ftp://example.com/a"}}`, `{` + valid + `"output": {"upload_url": "https://user:pass@example.com/a"}}`,
		`{` + valid + `"output": {"upload_url": "/a"}}`, `{` + valid + `"output": {"upload_url": 5}}`,
		`{` + valid + `"output": {"expires_in": 59}}`, `{` + valid + `"output": {"expires_in": 604801}}`,
		`{` + valid + `"generation": {"frames": 5}, "frames": 5}`,
		`{` + valid + `"generation": {"frames": 5}, "generation.frames": 5}`,
		`{` + valid + `"generation": {"frames": 0}}`,
		`{` + valid + `"generation": {"batch_size": 1}}`,
		`{` + valid + `"generation": []}`,
		`{` + valid + `"diffusion.timesteps": {"sampling": {"steps": 0}}}`,
	} {
		_, problems := parse(Job{Input: []byte(input)}, Config{})
		invalid := check(t, s, input)
		if (len(problems) > 0) != (invalid != nil) {
			t.Errorf("%.150s\nparse: %v\nschema: %v", input, problems, invalid)
		}
	}
}

// TestSchemaSaysTheDefaults: those of the endpoint.
func TestSchemaSaysTheDefaults(t *testing.T) {
	for _, c := range []struct {
		config string
		want   map[string]string
	}{
		{"{}", map[string]string{"width": "832", "height": "480", "frames": "97", "steps": "50", "shift": "5", "fps": "25", "step_change": "980", "dry_run": "false"}},
		{"width: 640\nfps: 30\nshift: 3.5", map[string]string{"width": "640", "height": "480", "fps": "30", "shift": "3.5"}},
	} {
		path := filepath.Join(t.TempDir(), "config.yaml")
		plant(t, path, []byte(c.config))
		text, err := Schema(Config{File: path})
		if err != nil {
			t.Fatal(err)
		}
		var s struct {
			Properties map[string]struct{ Default json.RawMessage }
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		for name, want := range c.want {
			if got := string(s.Properties[name].Default); got != want {
				t.Errorf("%s: default of %s is %s, want %s", c.config, name, got, want)
			}
		}
	}
}
