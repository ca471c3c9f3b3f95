package handler

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/storage"
)

// holding is a store with one object under every key, of which only Get and Sign are asked.
type holding struct {
	storage.None
	data []byte
}

func (h holding) Get(context.Context, string) ([]byte, error) { return h.data, nil }

func (h holding) Sign(_ context.Context, key string) (storage.Object, error) {
	return storage.Object{Key: key, URL: "https://bucket.example/" + key}, nil
}

// FuzzManifest finds any bytes where an earlier delivery left its manifest. They count as none that can be used, or as a
// manifest whose result is answered with this store's links to this job's objects, whatever links the bytes hold, and that
// says the same when it is written again.
func FuzzManifest(f *testing.F) {
	for _, seed := range []string{
		`{"manifest": 1, "job": "j", "request_sha256": "a", "result": {"seed": 18446744073709551615, "frames": 97, "timings": {"denoise": 1.5}, "video_url": "https://evil.example/", "manifest_url": "https://evil.example/", "key": "evil", "expires_at": "2030-01-01T00:00:00Z"}}`,
		`{"manifest": 1, "result": null}`, `{"manifest": 2, "result": {}}`, `{"manifest": 1, "result": {}, "created": "2026-01-01T00:00:00Z", "parameters": {"loras": [{"name": "a.safetensors"}]}}`,
		`{"manifest": 1, "result": {"seed": -1}}`, `[]`, `null`, `{`, ``,
	} {
		f.Add([]byte(seed), "job-1")
	}
	f.Fuzz(func(t *testing.T, data []byte, job string) {
		d := &destination{store: holding{data: data}}
		m, err := d.delivered(t.Context(), zerolog.Nop(), job)
		if m == nil || err != nil {
			t.Fatalf("%s: there is no manifest, %v", data, err)
		}
		if m.Result == nil {
			if diff := cmp.Diff(&Manifest{}, m); diff != "" {
				t.Fatalf("%s cannot be used, but leaves %s", data, diff)
			}
			return
		}
		result, err := m.answer(t.Context(), d, job)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		segment := storage.Segment(job)
		if result.VideoURL != "https://bucket.example/"+segment+"/video.mp4" || result.ManifestURL != "https://bucket.example/"+segment+"/manifest.json" || result.Key != segment+"/video.mp4" || !result.ExpiresAt.IsZero() {
			t.Fatalf("%s is answered with %+v", data, result)
		}
		written, err := marshal(m)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		again := new(Manifest)
		if err := json.Unmarshal(written, again); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if second, err := marshal(again); err != nil || string(second) != string(written) {
			t.Fatalf("%s is first %s, then %s, %v", data, written, second, err)
		}
	})
}

// FuzzLoRAList reads any JSON as the adapters of a job: a problem with a field each, or names of files without a path, in their
// order, with strengths that may be.
func FuzzLoRAList(f *testing.F) {
	for _, seed := range []string{
		`[{"name": "a.safetensors"}]`, `[{"name": "a.safetensors", "strength": -4, "sha256": "` + strings.Repeat("0a", 32) + `"}, {"name": "b.safetensors", "strength": 1e1}]`,
		`[{"name": "../a.safetensors"}]`, `[{"name": "a.safetensors", "strength": null}, 5, null]`, `[{}, {}, {}, {}, {}]`, `{"name": "a.safetensors"}`, `"a.safetensors"`, `[{"name": "a.safetensors", "sha256": "x", "x": 1}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, loras string) {
		if !json.Valid([]byte(loras)) {
			return
		}
		request, problems := parse(Job{Input: json.RawMessage(fmt.Sprintf(`{"prompt": "p", "audio": "volume:a.wav", "loras": %s}`, loras))}, Config{Variant: "1.7B"})
		for _, p := range problems {
			if p.Code == "" || !strings.HasPrefix(p.Field, "loras") || len(p.Error()) > 2000 {
				t.Fatalf("%s: %v", loras, p)
			}
		}
		if len(problems) > 0 {
			return
		}
		var given []struct{ Name string }
		if err := json.Unmarshal([]byte(loras), &given); err != nil && loras != "null" || len(given) != len(request.LoRAs) || len(given) > MaxLoRAs {
			t.Fatalf("%s are %+v, %v", loras, request.LoRAs, err)
		}
		for i, l := range request.LoRAs {
			if strings.ContainsAny(l.Name, `/\`) || !strings.HasSuffix(l.Name, ".safetensors") || l.Name != given[i].Name || l.Strength < -MaxStrength || l.Strength > MaxStrength || l.Strength != l.Strength || l.SHA256 != "" && len(l.SHA256) != 64 {
				t.Fatalf("%s: LoRA %d is %+v", loras, i, l)
			}
		}
	})
}
