package pack

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// FuzzCheck: a copy with any header stands for a file only if it says in full what this program wrote: its version, the type
// and the size and fingerprint of that very file.
func FuzzCheck(f *testing.F) {
	dir := f.TempDir()
	original, copied := filepath.Join(dir, "original"), filepath.Join(dir, "copy")
	if err := os.WriteFile(original, []byte("weights"), 0o600); err != nil {
		f.Fatal(err)
	}
	fingerprint := func(string) (string, error) { return "mark", nil }
	good, err := header(nil, checkpoint.BF16, []source{{"original", 7, "sum", "mark"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good), uint64(len(good)))
	f.Add(string(good), uint64(len(good)-30))
	f.Add(strings.ReplaceAll(string(good), "mark", "other"), uint64(len(good)+1))
	f.Add(`{"__metadata__": {"humo_packed": "1", "humo_dtype": "BF16", "humo_sources": "[]"}}`, uint64(82))
	f.Add(`{"__metadata__": null}`, uint64(1)<<63)
	f.Add("", uint64(0))
	f.Fuzz(func(t *testing.T, text string, length uint64) {
		if err := os.WriteFile(copied, append(binary.LittleEndian.AppendUint64(nil, length), text...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Check(copied, []string{original}, checkpoint.BF16, fingerprint); err != nil {
			if len(err.Error()) > 1000 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		var doc struct {
			Metadata map[string]string `json:"__metadata__"`
		}
		var sources []source
		if uint64(len(text)) != length || json.Unmarshal([]byte(text), &doc) != nil || json.Unmarshal([]byte(doc.Metadata[keySources]), &sources) != nil {
			t.Fatalf("%q of %d bytes is taken", text, length)
		}
		if doc.Metadata[keyMade] != "1" || doc.Metadata[keyDType] != "BF16" || len(sources) != 1 || sources[0].Bytes != 7 || sources[0].Fingerprint != "mark" {
			t.Fatalf("%q is taken", text)
		}
		if Check(copied, []string{original}, checkpoint.F16, fingerprint) == nil || Check(copied, []string{original, original}, checkpoint.BF16, fingerprint) == nil {
			t.Fatalf("%q stands for anything", text)
		}
	})
}
