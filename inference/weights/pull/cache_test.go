package pull

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/weights/pull/hubtest"
)

// inHubCache puts a file into a cache as the hub's client does, and returns its snapshot and its blob.
func inHubCache(t *testing.T, cache string, f weights.File, blob string, content []byte) (snapshot, stored string) {
	t.Helper()
	model := filepath.Join(cache, "models--"+strings.ReplaceAll(f.Repo, "/", "--"))
	snapshot, stored = filepath.Join(model, "snapshots", f.Revision, f.Source), filepath.Join(model, "blobs", blob)
	for _, dir := range []string{filepath.Dir(snapshot), filepath.Dir(stored)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(stored, content, 0o644); err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(filepath.Dir(snapshot), stored)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(rel, snapshot); err != nil {
		t.Fatal(err)
	}
	return snapshot, stored
}

// filled is a cache with all files, named as the hub names them. change may spoil one.
func filled(t *testing.T, h *hubtest.Hub, cache string, rows []weights.File, change func(f weights.File, blob string, content []byte) (string, []byte)) {
	t.Helper()
	for _, f := range rows {
		content, err := os.ReadFile(filepath.Join(golden, f.Path))
		if err != nil {
			t.Fatal(err)
		}
		blob := h.Digest(f.Repo, f.Source)
		if change != nil {
			blob, content = change(f, blob, content)
		}
		inHubCache(t, cache, f, blob, content)
	}
}

func TestFilesInACacheAreUsedThere(t *testing.T) {
	h, rows := stand(t)
	cfg, dir := from(t, h), filepath.Join(t.TempDir(), "home", "weights")
	filled(t, h, cfg.Cache, rows, nil)
	s := pulled(t, cfg, dir, rows)
	same(t, dir)
	if s.Linked != len(rows) || s.Files != 16 { // the shards are no rows, and not in the cache
		t.Errorf("%+v", *s)
	}
	name := filepath.Join(dir, rows[0].Path)
	link, err := os.Readlink(name)
	if err != nil || !filepath.IsAbs(link) || !strings.HasPrefix(link, cfg.Cache) {
		t.Errorf("the link leads to %s (%v)", link, err)
	}
	before := h.Stats().Requests
	if s := pulled(t, cfg, dir, rows); s.Found != 16 || h.Stats().Requests != before {
		t.Errorf("again: %+v", *s)
	}

	// The cache is gone: its files are fetched.
	if err := os.RemoveAll(cfg.Cache); err != nil {
		t.Fatal(err)
	}
	if s := pulled(t, cfg, dir, rows); s.Linked != 0 || s.Fetched == 0 {
		t.Errorf("without the cache: %+v", *s)
	}
	same(t, dir)
	if st, err := os.Lstat(name); err != nil || !st.Mode().IsRegular() {
		t.Errorf("%v, %v", st, err)
	}
}

// TestLinksOnOneVolume: they hold wherever the volume is mounted.
func TestLinksOnOneVolume(t *testing.T) {
	h, rows := stand(t)
	volume := filepath.Join(t.TempDir(), "runpod-volume")
	cfg := from(t, h)
	cfg.Cache = filepath.Join(volume, "huggingface-cache", "hub")
	filled(t, h, cfg.Cache, rows[:1], nil)
	pulled(t, cfg, filepath.Join(volume, "humo"), rows[:1])
	moved := filepath.Join(filepath.Dir(volume), "workspace")
	if err := os.Rename(volume, moved); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(moved, "humo", rows[0].Path))
	want, _ := os.ReadFile(filepath.Join(golden, rows[0].Path))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got := linkTo("/humo", "/humo/HuMo/x", "/cache/x"); got != "/cache/x" {
		t.Errorf("a root at the top: %s", got)
	}
}

// TestSpoiltCaches: what is not the published file is fetched, and stays as it is in the cache.
func TestSpoiltCaches(t *testing.T) {
	const small, large = "whisper-large-v3/config.json", "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"
	for name, c := range map[string]struct {
		path   string
		change func(f weights.File, blob string, content []byte) (string, []byte)
	}{
		"half a file": {large, func(_ weights.File, blob string, content []byte) (string, []byte) {
			return blob, content[:len(content)/2]
		}},
		"a blob of another file": {large, func(_ weights.File, _ string, content []byte) (string, []byte) {
			return strings.Repeat("ab", 32), content
		}},
		"a small file with other bytes": {small, func(_ weights.File, blob string, content []byte) (string, []byte) {
			return blob, bytes.Repeat([]byte{'x'}, len(content))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h, rows := stand(t)
			i := slices.IndexFunc(rows, func(f weights.File) bool { return f.Path == c.path })
			rows = rows[i : i+1]
			cfg, dir := from(t, h), t.TempDir()
			filled(t, h, cfg.Cache, rows, c.change)
			before := files(t, cfg.Cache)
			if s := pulled(t, cfg, dir, rows); s.Linked != 0 || s.Fetched == 0 {
				t.Errorf("%+v", *s)
			}
			got, err := os.ReadFile(filepath.Join(dir, rows[0].Path))
			want, _ := os.ReadFile(filepath.Join(golden, rows[0].Path))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("the file differs (%v)", err)
			}
			for name, content := range files(t, cfg.Cache) {
				if before[name] != content {
					t.Errorf("%s in the cache was changed", name)
				}
			}
		})
	}
}

func TestCaches(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/user")
	for want, cfg := range map[string]Config{
		"/user/huggingface/hub": {}, "/home/hub": {Home: "/home"}, "/hub": {Home: "/home", Cache: "/hub"},
	} {
		if got := cfg.caches(); len(got) != 2 || got[0] != want || got[1] != "/runpod-volume/huggingface-cache/hub" {
			t.Errorf("%q, want %s and RunPod's", got, want)
		}
	}
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	if got := (Config{}).caches(); len(got) != 1 {
		t.Errorf("without a home: %q", got)
	}
}

// TestLinksAreNotWrittenThrough: a leftover link beside the target does not lead a download into the cache.
func TestLinksAreNotWrittenThrough(t *testing.T) {
	h, rows := stand(t)
	cfg, dir := from(t, h), t.TempDir()
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("good"), 0o644); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, rows[0].Path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, name+newLink); err != nil { // as a pull leaves it that is killed between two steps
		t.Fatal(err)
	}
	filled(t, h, cfg.Cache, rows[:1], nil)
	if _, err := Pull(t.Context(), cfg, weights.Locate(dir), rows[:1], zerolog.Nop(), ignore); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "good" {
		t.Errorf("%q, %v", b, err)
	}
	if !vacant(name + newLink) {
		t.Error("the link was left behind")
	}
}
