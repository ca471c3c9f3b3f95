package weights

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// FuzzSmallFiles reads any bytes as the index of the 17B's shards and as the audio encoder's configuration: a fault that names
// the file to fetch, or names that stay in the folder and all come from the file, and a number of heads that can be.
func FuzzSmallFiles(f *testing.F) {
	for _, seed := range []string{
		`{"weight_map": {"a": "one.safetensors", "b": "sub/two.safetensors"}}`, `{"weight_map": {"a": "../x"}}`, `{"weight_map": {"a": "/x"}}`, `{"weight_map": {}}`, `{"weight_map": {"a": ""}}`,
		`{"encoder_attention_heads": 20}`, `{"encoder_attention_heads": -1}`, `{"encoder_attention_heads": 1e3}`, `{"encoder_attention_heads": null} x`, `[`, ``,
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "file.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		shards, err := shardsOf(path)
		if err != nil && (fault.CodeOf(err) != "bad_weights" || !strings.Contains(err.Error(), path)) || err == nil && len(shards) == 0 {
			t.Fatalf("%s: %q, %v", b, shards, err)
		}
		var doc struct {
			Map map[string]string `json:"weight_map"`
		}
		for _, s := range shards {
			if inside, err := filepath.Rel("/folder", filepath.Join("/folder", s)); err != nil || !filepath.IsLocal(inside) {
				t.Fatalf("%s: %q leaves the folder", b, s)
			}
			if json.Unmarshal(b, &doc) == nil && !slices.Contains(valuesOf(doc.Map), s) {
				t.Fatalf("%s names no %q", b, s)
			}
		}
		heads, err := (&Files{WhisperConfig: path}).WhisperHeads()
		if err != nil && fault.CodeOf(err) != "bad_weights" || err == nil && (heads < 1 || heads > 1024) {
			t.Fatalf("%s: %d heads, %v", b, heads, err)
		}
	})
}

func valuesOf(m map[string]string) (all []string) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}
