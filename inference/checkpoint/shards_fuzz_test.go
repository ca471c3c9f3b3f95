package checkpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// FuzzShards reads a safetensors index beside one real shard: what is accepted says what encoding/json says, all tensors that
// it promises are there, and no file outside the folder is opened. A fault is short, whatever the index holds.
func FuzzShards(f *testing.F) {
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "model/sub"), 0o755); err != nil {
		f.Fatal(err)
	}
	for path, b := range map[string][]byte{"model/one": shard("a", "b"), "model/sub/two": shard("c"), "outside": shard("d")} {
		if err := os.WriteFile(filepath.Join(dir, path), b, 0o600); err != nil {
			f.Fatal(err)
		}
	}
	for _, pairs := range [][]string{{"a", "one", "b", "one"}, {"a", "one", "c", "sub/two"}, {"d", "../outside"}, {"a", "two"}, {"a", "sub"}, {"a", "/dev/zero"}, {"a", ""}, {"e", "one"}} {
		f.Add(weightMap(pairs...))
	}
	f.Add([]byte(`{"weight_map": {"a": "one", "a": "one"}}`))
	f.Add([]byte(`{"weight_map": {"a": null}}  x`))
	within, err := filepath.EvalSymlinks(filepath.Join(dir, "model"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tensors, files, err := readShards(inMemory(b), filepath.Join(dir, "model"))
		if err != nil {
			if code := fault.CodeOf(err); code == "internal" || len(err.Error()) > 4096 {
				t.Fatalf("a fault of %d bytes, code %s: %.200v", len(err.Error()), code, err)
			}
			return
		}
		var doc struct {
			Map map[string]string `json:"weight_map"`
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatalf("accepted what is no JSON: %v", err)
		}
		for name, shard := range doc.Map {
			if x := tensors[name]; x == nil || x.File != filepath.Join(within, filepath.FromSlash(shard)) {
				t.Errorf("%q is said to be in %q and is %v", name, shard, x)
			}
		}
		for _, file := range files {
			if !strings.HasPrefix(file, within+string(filepath.Separator)) {
				t.Errorf("%s was opened", file)
			}
		}
	})
}
