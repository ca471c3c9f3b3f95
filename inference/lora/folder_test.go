package lora

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func plant(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFolder(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "loras")
	f := Config{}.Folder(root)
	if _, err := f.Find("loras[0]", "a.safetensors"); fault.CodeOf(err) != "lora_not_found" || !strings.Contains(err.Error(), dir) {
		t.Errorf("no folder: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.safetensors"), 0o755); err != nil {
		t.Fatal(err)
	}
	plant(t, dir, "b.safetensors", "notes.txt", ".hidden.safetensors")
	if path, err := f.Find("loras[0]", "b.safetensors"); err != nil || path != filepath.Join(dir, "b.safetensors") {
		t.Errorf("%s, %v", path, err)
	}
	for _, name := range []string{"a.safetensors", "folder.safetensors"} {
		_, err := f.Find("loras[1]", name)
		if fault.CodeOf(err) != "lora_not_found" || !strings.Contains(err.Error(), "b.safetensors") || strings.Contains(err.Error(), "notes") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The setting names the file for fast clips; without it the published ones are looked for, lightx2v's own first.
func TestDistilled(t *testing.T) {
	dir := t.TempDir()
	usual, set := Config{Dir: dir}.Folder("elsewhere"), Config{Dir: dir, Fast: "mine.safetensors"}.Folder("elsewhere")
	for _, step := range []struct{ plant, usual, set string }{
		{"other.safetensors", "", ""},
		{distilled[1], distilled[1], ""},
		{distilled[0], distilled[0], ""},
		{"mine.safetensors", distilled[0], "mine.safetensors"},
	} {
		plant(t, dir, step.plant)
		for want, folder := range map[*string]Folder{&step.usual: usual, &step.set: set} {
			name, err := folder.Distilled()
			if name != *want || (err == nil) != (name != "") || err != nil && fault.CodeOf(err) != "lora_not_found" {
				t.Errorf("with %s: %q, %v, want %q", step.plant, name, err, *want)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	plant(t, filepath.Dir(file), "file")
	for _, c := range []struct {
		config Config
		field  string
	}{
		{Config{}, ""}, {Config{Dir: "/nowhere", Fast: "a.safetensors"}, ""},
		{Config{Dir: file}, "HUMO_LORAS"}, {Config{Fast: "../a.safetensors"}, "HUMO_FAST_LORA"}, {Config{Fast: "a.pt"}, "HUMO_FAST_LORA"},
	} {
		err := c.config.Validate()
		if (err != nil) != (c.field != "") || err != nil && !strings.Contains(err.Error(), c.field) {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
}
