package handler

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/umt5"
	"github.com/humo-worker/humo-worker/storage"
)

// rejob is a job with every kind of input, as it could come a second time.
const rejob = `{"prompt": "A woman.", "audio": "volume:voice.wav", "images": ["volume:face.png"], "frames": 18, "width": 64, "height": 96, "steps": 3}`

func (b *bench) manifest(t *testing.T, job string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.out, job, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifest(t *testing.T) {
	b := newBenchWith(t, Config{Version: "v1"})
	b.engine.do = func(context.Context, inference.Spec) error { // the manifest is the last to be written
		if _, err := os.Stat(filepath.Join(b.out, "job-1", "manifest.json")); !os.IsNotExist(err) {
			t.Errorf("a manifest before the video: %v", err)
		}
		return nil
	}
	result, err := b.handle(t, rejob)
	if err != nil {
		t.Fatal(err)
	}
	m := b.manifest(t, "job-1")
	created, err := time.Parse(time.RFC3339, m["created"].(string))
	if err != nil || time.Since(created) > time.Minute || len(m["request_sha256"].(string)) != 64 || len(m["input_sha256"].(string)) != 64 {
		t.Errorf("created %v, hashes %v and %v", m["created"], m["request_sha256"], m["input_sha256"])
	}
	versions := m["versions"].(map[string]any)
	if !strings.HasPrefix(versions["go"].(string), "go1") {
		t.Errorf("go is %v", versions["go"])
	}
	spent := m["time"].(map[string]any)
	parts := spent["fetch"].(float64) + spent["make"].(float64) + spent["store"].(float64)
	if total := spent["total"].(float64); total <= 0 || math.Abs(total-parts) > 0.003 || spent["compute"] != 0.002 || math.Abs(total-0.002-spent["outside"].(float64)) > 0.002 {
		t.Errorf("time %v", spent)
	}
	for _, name := range []string{"created", "request_sha256", "input_sha256", "time"} {
		delete(m, name)
	}
	delete(versions, "go")
	file := func(data []byte) map[string]any {
		return map[string]any{"bytes": float64(len(data)), "sha256": hashText(string(data))}
	}
	want := map[string]any{
		"manifest": 1.0, "job": "job-1",
		"inputs": map[string]any{
			"prompt_sha256": hashText("A woman."), "negative_prompt_sha256": hashText(umt5.DefaultNegativePrompt),
			"audio": file(wav(t, 1.5)), "images": []any{file(picture(t, 40, 30))},
		},
		"parameters": map[string]any{
			"mode": "TIA", "variant": "1.7B", "frames": 17.0, "width": 64.0, "height": 96.0, "fps": 25.0, "steps": 3.0, "shift": 5.0,
			"seed": float64(result.Seed), "scale_t": 7.5, "scale_a": 7.5, "scale_i": 4.0, "step_change": 980.0, "isolate_vocals": false, "quality": "exact",
			"output": map[string]any{"format": "mp4", "crf": 18.0},
		},
		"versions": map[string]any{"humo-worker": "v1", "onnxruntime": "9.8.7"},
		"weights":  []any{map[string]any{"path": "HuMo/x.pth", "bytes": 12.0, "fingerprint": "abcd"}},
		"machine":  map[string]any{"platform": "linux/amd64", "cpu": "C", "cores": 2.0, "device": "GPU X"},
		"video":    file([]byte("mp4")),
		"result": map[string]any{
			"key": "job-1/video.mp4", "seed": float64(result.Seed), "mode": "TIA", "variant": "1.7B", "quality": "exact", "frames": 17.0, "fps": 25.0,
			"width": 64.0, "height": 96.0, "duration_s": 0.68, "timings": map[string]any{"denoise": 1.235},
			"passes": map[string]any{"run": 5.0, "reused": 3.0, "gated": 1.0},
		},
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if want := "file://" + b.out + "/job-1/manifest.json"; result.ManifestURL != want {
		t.Errorf("manifest_url %q, want %q", result.ManifestURL, want)
	}
}

// TestManifestPrompts: prompts are written only where the endpoint says so.
func TestManifestPrompts(t *testing.T) {
	b := newBenchWith(t, Config{ManifestPrompts: true})
	if _, err := b.handle(t, `{`+valid+`"negative_prompt": "blurry"}`); err != nil {
		t.Fatal(err)
	}
	if in := b.manifest(t, "job-1")["inputs"].(map[string]any); in["prompt"] != "p" || in["negative_prompt"] != "blurry" {
		t.Errorf("%v", in)
	}
}

// TestManifestParametersAreAJob: what ran can be asked for again.
func TestManifestParametersAreAJob(t *testing.T) {
	b := newBench(t)
	if _, err := b.handle(t, rejob); err != nil {
		t.Fatal(err)
	}
	again := b.manifest(t, "job-1")["parameters"].(map[string]any)
	again["prompt"], again["audio"], again["images"] = "A woman.", "volume:voice.wav", "volume:face.png"
	input, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.handleJob(t, Job{ID: "job-2", Input: input}); err != nil {
		t.Fatal(err)
	}
	first, second := b.engine.specs[0], b.engine.specs[1]
	first.Frames = 17 // rounded
	second.AudioPath, second.ImagePaths, second.OutputPath = first.AudioPath, first.ImagePaths, first.OutputPath
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the engine was asked for (-first +second):\n%s", diff)
	}
}

// TestTwice: a job that comes again is answered from its manifest; the answers are equal but for the links' signatures,
// which a local store does not have.
func TestTwice(t *testing.T) {
	for name, second := range map[string]string{
		"the same":                  rejob,
		"other names and notations": `{"prompt": "A woman.", "audio_path": "/voice.wav", "img_paths": "face.png", "generation": {"frames": 18.0, "width": 6.4e1}, "height": 96, "steps": 3, "seed": null, "dry_run": false, "output": {"expires_in": 60, "crf": null}}`,
		"bytes instead of a path":   strings.Replace(rejob, `"volume:voice.wav"`, `{"data": "`+base64.StdEncoding.EncodeToString(wav(t, 1.5))+`"}`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first, err := b.handle(t, rejob)
			if err != nil {
				t.Fatal(err)
			}
			again, err := b.handle(t, second)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first, again); diff != "" {
				t.Errorf("results (-first +second):\n%s", diff)
			}
			if len(b.engine.specs) != 1 {
				t.Errorf("%d clips were made, want 1", len(b.engine.specs))
			}
			if !strings.Contains(b.log.String(), "answered from its manifest") {
				t.Errorf("the log does not say so:\n%s", b.log.String())
			}
		})
	}
}

// TestReplaced: another input under the same id is another clip, the result says so, and its second delivery too.
func TestReplaced(t *testing.T) {
	for name, second := range map[string]string{
		"a parameter": strings.Replace(rejob, `"steps": 3`, `"steps": 4`, 1),
		"a seed":      strings.Replace(rejob, `"steps": 3`, `"steps": 3, "seed": 5`, 1),
		"the prompt":  strings.Replace(rejob, "woman", "man", 1),
		"a picture":   strings.Replace(rejob, "face.png", "other.png", 1),
		"quality":     strings.Replace(rejob, `"steps": 3`, `"steps": 3, "output": {"crf": 30}`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			plant(t, filepath.Join(b.root, "other.png"), picture(t, 30, 40))
			if first, err := b.handle(t, rejob); err != nil || first.Replaced {
				t.Fatalf("%+v, error %v", first, err)
			}
			result, err := b.handle(t, second)
			if err != nil || !result.Replaced || len(b.engine.specs) != 2 {
				t.Fatalf("%+v after %d clips, error %v", result, len(b.engine.specs), err)
			}
			again, err := b.handle(t, second)
			if diff := cmp.Diff(result, again); diff != "" || err != nil || len(b.engine.specs) != 2 {
				t.Errorf("the second delivery, after %d clips, error %v (-first +second):\n%s", len(b.engine.specs), err, diff)
			}
		})
	}
}

// TestChangedFile: the same job over a file that has changed is another one.
func TestChangedFile(t *testing.T) {
	b := newBench(t)
	if _, err := b.handle(t, rejob); err != nil {
		t.Fatal(err)
	}
	plant(t, filepath.Join(b.root, "voice.wav"), wav(t, 1.6))
	if result, err := b.handle(t, rejob); err != nil || !result.Replaced {
		t.Errorf("%+v, error %v", result, err)
	}
}

// TestSourcesGone: when the sources of a job that was done cannot be had any more, the job itself tells that it is the
// same; another one is refused for them.
func TestSourcesGone(t *testing.T) {
	b := newBench(t)
	first, err := b.handle(t, rejob)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(b.root, "voice.wav")); err != nil {
		t.Fatal(err)
	}
	again, err := b.handle(t, rejob)
	if diff := cmp.Diff(first, again); diff != "" || err != nil {
		t.Errorf("error %v (-first +second):\n%s", err, diff)
	}
	_, err = b.handle(t, strings.Replace(rejob, `"steps": 3`, `"steps": 4`, 1))
	badInput{"another job", CodeSourceNotFound, "audio", "no file"}.check(t, err)
	if len(b.engine.specs) != 1 {
		t.Errorf("%d clips were made, want 1", len(b.engine.specs))
	}
}

// TestVideoGone: a manifest without its video answers nothing.
func TestVideoGone(t *testing.T) {
	b := newBench(t)
	if _, err := b.handle(t, rejob); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(b.out, "job-1", "video.mp4")); err != nil {
		t.Fatal(err)
	}
	if result, err := b.handle(t, rejob); err != nil || len(b.engine.specs) != 2 || result.Replaced {
		t.Errorf("%+v after %d clips, error %v", result, len(b.engine.specs), err)
	}
	if _, err := os.Stat(filepath.Join(b.out, "job-1", "video.mp4")); err != nil {
		t.Error(err)
	}
}

// TestBrokenReplacement: while another clip is being put under an id, no manifest vouches for what is there.
func TestBrokenReplacement(t *testing.T) {
	b := newBench(t)
	if _, err := b.handle(t, rejob); err != nil {
		t.Fatal(err)
	}
	b.engine.do = func(_ context.Context, spec inference.Spec) error { // the video cannot be stored
		return errors.Join(os.Remove(filepath.Join(b.out, "job-1", "video.mp4")), os.Mkdir(filepath.Join(b.out, "job-1", "video.mp4"), 0o700))
	}
	other := strings.Replace(rejob, `"steps": 3`, `"steps": 4`, 1)
	if _, err := b.handle(t, other); err == nil {
		t.Fatal("a folder was overwritten by a file")
	}
	if err := os.Remove(filepath.Join(b.out, "job-1", "video.mp4")); err != nil {
		t.Fatal(err)
	}
	b.engine.do = nil
	if result, err := b.handle(t, rejob); err != nil || len(b.engine.specs) != 3 || !result.Replaced {
		t.Errorf("the first job was answered with %+v after %d clips, error %v", result, len(b.engine.specs), err)
	}
}

// TestDamagedManifest: what cannot be read is written anew.
func TestDamagedManifest(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"manifest": 99, "result": {}}`, `{"manifest": 1}`} {
		b := newBench(t)
		if err := os.MkdirAll(filepath.Join(b.out, "job-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		plant(t, filepath.Join(b.out, "job-1", "manifest.json"), []byte(text))
		if _, err := b.handle(t, rejob); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if b.manifest(t, "job-1")["manifest"] != 1.0 {
			t.Errorf("%q: the manifest was not written anew", text)
		}
	}
}

// TestManifestWithoutIdentity: not knowing the weights is no reason to throw a clip away.
func TestManifestWithoutIdentity(t *testing.T) {
	b := newBench(t)
	b.engine.broken = errors.New("gone")
	if _, err := b.handle(t, rejob); err != nil {
		t.Fatal(err)
	}
	if m := b.manifest(t, "job-1"); m["weights"] != nil {
		t.Errorf("%v", m)
	}
}

// unreachable is a store that answers every question with the same error.
type unreachable struct {
	storage.Store
	err error
}

func (u unreachable) Get(context.Context, string) ([]byte, error) { return nil, u.err }

// TestStoreThatCannotBeHad: nothing is rendered for a store that cannot take it. One that may not be read is no such store.
func TestStoreThatCannotBeHad(t *testing.T) {
	for _, row := range []struct {
		err  *fault.Error
		ends bool
	}{
		{fault.New(storage.CodeFailed, "BUCKET_ENDPOINT_URL", "is down").Again(), true},
		{fault.New(storage.CodeBucketNotFound, "BUCKET_NAME", "is not there"), true},
		{fault.New(storage.CodeBucketElsewhere, "BUCKET_ENDPOINT_URL", "is another region's"), true},
		{fault.New(storage.CodeDenied, "BUCKET_ACCESS_KEY_ID", "may write only"), false},
		{fault.New(storage.CodeTooLarge, "key", "is no manifest of ours"), false},
	} {
		m, err := (&destination{store: unreachable{err: row.err}}).delivered(t.Context(), zerolog.Nop(), "job-1")
		if (err != nil) != row.ends || m != nil {
			t.Errorf("%v: %v, %v", row.err, m, err)
		}
	}
}
