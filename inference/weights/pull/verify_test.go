package pull

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// verified maps each path to what was found wrong, or compared.
func verified(t *testing.T, dir string, rows []weights.File, quick bool) map[string]string {
	t.Helper()
	findings, err := Verify(t.Context(), weights.Locate(dir), rows, quick, ignore)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range findings {
		found[f.Path] = f.Problem
		if f.Problem == "" {
			found[f.Path] = f.Checked
		}
	}
	return found
}

func TestVerify(t *testing.T) {
	h, rows := stand(t)
	dir := t.TempDir()
	pulled(t, from(t, h), dir, rows)
	for checked, quick := range map[string]bool{"SHA-256": false, "size": true} {
		found := verified(t, dir, rows, quick)
		if len(found) != 16 {
			t.Errorf("%d files", len(found))
		}
		for name, what := range found {
			if what != checked {
				t.Errorf("%s: %s, want %s", name, what, checked)
			}
		}
	}

	const (
		shard   = "HuMo/HuMo-17B/humo-00002-of-00003.safetensors"
		changed = "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"
		short   = "whisper-large-v3/model.safetensors"
		absent  = "whisper-large-v3/config.json"
		index   = "HuMo/HuMo-17B/humo.safetensors.index.json"
	)
	edit := func(name string, f func(*os.File) error) {
		t.Helper()
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f(file), file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	edit(changed, func(f *os.File) error { _, err := f.WriteAt([]byte("x"), 1000); return err })
	edit(short, func(f *os.File) error { return f.Truncate(1000) })
	for _, name := range []string{shard, absent} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	found := verified(t, dir, rows, false)
	for name, want := range map[string]string{
		shard: "missing; pull again", changed: "other bytes than published (SHA-256", index: "SHA-256",
		short: "has 1000 bytes and the published file has 623024; delete " + dir,
	} {
		if !strings.HasPrefix(found[name], want) {
			t.Errorf("%s: %q, want %q", name, found[name], want)
		}
	}
	if _, ok := found[absent]; ok {
		t.Errorf("%s is not there: %q", absent, found[absent])
	}
	if found := verified(t, dir, rows, true); found[changed] != "size" || !strings.HasPrefix(found[short], "has 1000") {
		t.Errorf("quick: %q", found)
	}

	edit(index, func(f *os.File) error { return f.Truncate(100) })
	if found := verified(t, dir, rows, true); !strings.HasPrefix(found[index], "has 100 bytes") || found[shard] != "" {
		t.Errorf("index: %q", found)
	}
}

// TestVerifyWithoutARecord: files that were put there by hand are held against the table.
func TestVerifyWithoutARecord(t *testing.T) {
	_, rows := stand(t)
	found := verified(t, golden, rows, false)
	for name, want := range map[string]string{
		"HuMo/HuMo-1.7B/ema.pth":                        "SHA-256",
		"HuMo/HuMo-17B/humo-00002-of-00003.safetensors": "", // the table has no shards
		"whisper-large-v3/config.json":                  "",
	} {
		if what, ok := found[name]; what != want || !ok {
			t.Errorf("%s: %q, want %q", name, what, want)
		}
	}
}

// TestVerifyNamesTheCachesFile: deleting the link would lead to the same bytes.
func TestVerifyNamesTheCachesFile(t *testing.T) {
	h, rows := stand(t)
	cfg, dir := from(t, h), t.TempDir()
	_, blob := inHubCache(t, cfg.Cache, rows[0], h.Digest(rows[0].Repo, rows[0].Source), []byte(files(t, golden)[rows[0].Path]))
	pulled(t, cfg, dir, rows[:1])
	f, err := os.OpenFile(blob, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("x"), 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if what := verified(t, dir, rows, false)[rows[0].Path]; !strings.Contains(what, "delete "+blob+" and pull again") {
		t.Errorf("%s", what)
	}
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if what := verified(t, dir, rows, false)[rows[0].Path]; what != "missing; pull again" {
		t.Errorf("%s", what)
	}
}

func TestVerifyEnds(t *testing.T) {
	_, rows := stand(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, weights.Locate(golden), rows, false, ignore); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	dir := t.TempDir()
	if err := weights.WriteDemo(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), weights.Locate(dir), rows, false, ignore); fault.CodeOf(err) != "demo_folder" {
		t.Errorf("%v", err)
	}
}
