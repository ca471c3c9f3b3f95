package lora

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// FuzzNames: the check of a name and the pattern that the schema shows agree, and a name that passes is that of a file in the
// folder: no other file is ever reached.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"a.safetensors", "../a.safetensors", ".safetensors", "a/b.safetensors", `c:\a.safetensors`, "a.safetensors\n", "ä é.safetensors", "..safetensors", "a\x00.safetensors", "a.pt"} {
		f.Add(seed)
	}
	root := f.TempDir()
	dir := filepath.Join(root, "loras")
	if err := os.Mkdir(dir, 0o700); err != nil {
		f.Fatal(err)
	}
	for _, path := range []string{filepath.Join(root, "a.safetensors"), filepath.Join(dir, "a.safetensors")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			f.Fatal(err)
		}
	}
	pattern, folder := regexp.MustCompile(NamePattern), Config{Dir: dir}.Folder("")
	f.Fuzz(func(t *testing.T, name string) {
		problem := NameProblem(name)
		if utf8.ValidString(name) && len(name) <= MaxName && (problem == "") != pattern.MatchString(name) {
			t.Errorf("%q: %q, but the schema's pattern says %t", name, problem, pattern.MatchString(name))
		}
		path, err := folder.Find("loras[0]", name)
		switch code := fault.CodeOf(err); {
		case err == nil && (problem != "" || path != filepath.Join(dir, "a.safetensors")):
			t.Errorf("%q leads to %s", name, path)
		case err != nil && (code != "lora_name" && code != "lora_not_found" || (code == "lora_name") != (problem != "") || len(err.Error()) > 2000):
			t.Errorf("%q: %v", name, err)
		}
	})
}

// FuzzSplit: every style of a key is read back as the layer and the part that it was written for, and no key is read as one
// that still has a style's beginning.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"blocks.0.self_attn.q", "lora_unet_blocks_0_ffn_2.alpha", "model.diffusion_model.x.lora_A.default.weight", "a.diff_m", "base_model.model.", "head.head", ".lora_up.weight"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		layer, flat, p, ok := split(text)
		if ok && (p >= parts || !flat && hasBeginning(layer) || !strings.Contains(strings.Replace(text, ".default.", ".", 1), strings.TrimSuffix(layer, ".modulation"))) {
			t.Fatalf("%q is the layer %q, part %d", text, layer, p)
		}
		absent.MatchString(text)
		if hasBeginning(text) || strings.HasPrefix(text, "lora_unet_") || strings.Contains("."+text+".", ".default.") {
			return // no layer of the network is called so
		}
		for _, e := range endings {
			for _, b := range append([]string{""}, beginnings...) {
				if got, isFlat, part, ok := split(b + text + e.text); !ok || isFlat || part != e.part || got != text {
					t.Fatalf("%q: layer %q, flat %t, part %d, %t", b+text+e.text, got, isFlat, part, ok)
				}
			}
			if got, isFlat, part, ok := split("lora_unet_" + text + e.text); !ok || !isFlat || part != e.part || got != strings.TrimPrefix(text, "_") {
				t.Fatalf("lora_unet_%s%s: layer %q, flat %t, part %d, %t", text, e.text, got, isFlat, part, ok)
			}
		}
	})
}

func hasBeginning(layer string) bool {
	for _, b := range beginnings {
		if strings.HasPrefix(layer, b) {
			return true
		}
	}
	return false
}
