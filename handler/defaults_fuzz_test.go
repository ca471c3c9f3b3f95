package handler

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference"
)

// FuzzReadDefaults reads any YAML as the configuration file: every problem is about the file and short, and what is accepted is
// defaults that a job can run with, the same ones when the file is written as JSON.
func FuzzReadDefaults(f *testing.F) {
	for _, seed := range []string{
		original, "frames: 81\nwidth: 64\nheight: 64\n", "generation.frames: auto\n", "{\"steps\": 4, \"quality\": \"fast\"}", "dit: {sp_size: 2}\nvariant: 17B\n", "seed: 0x10\nshift: .inf\n", "scale_t: 1_0\n",
		"a: &a [1]\nb: [*a, *a]\n", "prompt: x\n", "steps: 1e1\nfps: 025\n", "- 1\n", "", "negative_prompt: |\n  x\n  y\n", "loras: [{name: a.safetensors, strength: 2}]\n", "width: 63", "\t", "? [a]\n: b\n", "<<: {steps: 3}\n", "!!binary aGk=",
	} {
		f.Add(seed)
	}
	dir := f.TempDir()
	path, written := filepath.Join(dir, "generate.yaml"), filepath.Join(dir, "generate.json")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDefaults(path)
		if err != nil {
			for _, p := range ProblemsOf(err) {
				if p.Code != "invalid_setting" || p.Field != path {
					t.Fatalf("%q: %v", text, err)
				}
			}
			if len(err.Error()) > 100_000 || !strings.Contains(err.Error(), path) {
				t.Fatalf("%q: %d bytes of problems", text, len(err.Error()))
			}
			return
		}
		if d.cards < 0 {
			t.Fatalf("%q: %d cards", text, d.cards)
		}
		c := Config{Variant: "1.7B", defaults: d}
		request, problems := parse(Job{Input: json.RawMessage(`{"prompt": "p", "audio": "volume:a.wav", "variant": "17B", "quality": "exact"}`)}, c)
		if len(problems) == 0 && (request.Width < 1 || request.Width%SizeStep != 0 || request.Height < 1 || request.Height%SizeStep != 0 || request.Steps < 1 || request.FPS < 1 || request.Variant != inference.Variant17B) {
			t.Fatalf("%q makes a job %+v", text, request)
		}
		data, err := readConfigFile(path)
		if err != nil || !json.Valid(data) || len(data) > 1<<20 {
			t.Fatalf("%q is %d bytes of JSON, %.200s, %v", text, len(data), data, err)
		}
		if err := os.WriteFile(written, data, 0o600); err != nil {
			t.Fatal(err)
		}
		same, err := ReadDefaults(written)
		if err != nil {
			t.Fatalf("%q is the JSON %s: %v", text, data, err)
		}
		if diff := cmp.Diff(d.given, same.given); diff != "" || d.cards != same.cards || d.request.Steps != same.request.Steps || d.request.Shift != same.request.Shift || d.request.NegativePrompt != same.request.NegativePrompt {
			t.Fatalf("%q is other defaults as the JSON %s: %s", text, data, diff)
		}
	})
}
