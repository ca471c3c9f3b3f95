package pull

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/weights/pull/hubtest"
)

// refused is the fault that a pull ends with. Nothing may have got a name that is not right.
func refused(t *testing.T, cfg Config, dir string, rows []weights.File) *fault.Error {
	t.Helper()
	_, err := Pull(t.Context(), cfg, weights.Locate(dir), rows, zerolog.Nop(), ignore)
	f, ok := err.(*fault.Error) //nolint:errorlint // not wrapped: the message is the whole
	if !ok {
		t.Fatalf("%v, want a fault", err)
	}
	want := files(t, golden)
	for name, content := range files(t, dir) {
		if known, ok := want[name]; ok && content != known {
			t.Errorf("%s is not the published file", name)
		}
	}
	return f
}

const vae = "Wan2.1_VAE.pth"

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		set           func(*hubtest.Hub, *Config, []weights.File)
		code, message string
		again         bool
	}{
		"no token": {func(h *hubtest.Hub, _ *Config, _ []weights.File) { h.Token = "hf_x" },
			"download_denied", "set HF_TOKEN to your access token, and accept the licence at HUB/", false},
		"wrong token": {func(h *hubtest.Hub, c *Config, _ []weights.File) { h.Token, c.Token = "hf_x", "hf_y" },
			"download_denied", "does not accept HF_TOKEN", false},
		"licence": {func(h *hubtest.Hub, _ *Config, _ []weights.File) { h.Trouble.Status = map[string]int{vae: 403} },
			"download_denied", "accept the licence at HUB/Wan-AI/Wan2.1-T2V-1.3B and set HF_TOKEN", false},
		"gone": {func(h *hubtest.Hub, _ *Config, _ []weights.File) { h.Trouble.Status = map[string]int{vae: 404} },
			"revision_moved", "has no Wan2.1_VAE.pth at the pinned commit 37ec512624d61f7aa208f7ea8140a131f93afc9a of Wan-AI/Wan2.1-T2V-1.3B", false},
		"moved": {func(h *hubtest.Hub, _ *Config, rows []weights.File) { h.Move(rows[0].Revision, "1234") },
			"revision_moved", `answers with commit "1234" of bytedance-research/HuMo instead of the pinned 3a4a`, false},
		"broken": {func(h *hubtest.Hub, _ *Config, _ []weights.File) { h.Trouble.Status = map[string]int{vae: 503} },
			"hub_unreachable", "10 tries in a row failed; what has arrived is kept", true},
		"busy for long": {func(h *hubtest.Hub, _ *Config, _ []weights.File) {
			h.Trouble.Status, h.Trouble.Header = map[string]int{vae: 429}, http.Header{"Ratelimit": {`"resolvers";r=0;t=299`}}
		}, "hub_busy", "asks to wait for 5m0s", true},
		"teapot": {func(h *hubtest.Hub, _ *Config, _ []weights.File) { h.Trouble.Status = map[string]int{vae: 418} },
			"hub_answer", "gives an answer that no hub gives", false},
		"other size": {func(_ *hubtest.Hub, _ *Config, rows []weights.File) { rows[0].Bytes++ },
			"bad_download", "2543759 bytes; the published one has 2543760", false},
		"other digest": {func(_ *hubtest.Hub, _ *Config, rows []weights.File) { rows[0].SHA256 = "0123456789abcdef" },
			"bad_download", "that of the published one with 0123456789abcdef", false},
		"other small file": {func(_ *hubtest.Hub, _ *Config, rows []weights.File) {
			for i := range rows {
				if strings.HasSuffix(rows[i].Path, "special_tokens_map.json") {
					rows[i].SHA256 = "0123456789abcdef" // the hub says git's digest only
				}
			}
		}, "bad_download", "is not the published file, twice in a row", true},
		"wrong twice": {func(h *hubtest.Hub, _ *Config, _ []weights.File) { h.Trouble.Wrong = []string{vae, vae} },
			"bad_download", "is not the published file, twice in a row, and was removed", true},
	} {
		t.Run(name, func(t *testing.T) {
			h, rows := stand(t)
			cfg, dir := from(t, h), t.TempDir()
			c.set(h, &cfg, rows)
			f := refused(t, cfg, dir, rows)
			message := strings.ReplaceAll(f.Error(), h.URL+"/", "HUB/")
			if f.Code != c.code || !strings.Contains(message, c.message) || f.Retryable != c.again {
				t.Errorf("%s, retryable %v: %s", f.Code, f.Retryable, message)
			}
			if strings.Contains(message, "signature") || strings.Contains(message, "hf_") {
				t.Errorf("a secret is in %s", message)
			}
		})
	}
}

// TestSecondTryAfterWrongBytes: what was wrong twice is not kept, so the next pull can do better.
func TestSecondTryAfterWrongBytes(t *testing.T) {
	h, rows := stand(t)
	h.Trouble.Wrong = []string{vae, vae}
	cfg, dir := from(t, h), t.TempDir()
	if f := refused(t, cfg, dir, rows); f.Code != "bad_download" {
		t.Errorf("%v", f)
	}
	pulled(t, cfg, dir, rows)
	same(t, dir)
}

// TestOptionalFilesMayBeGone: what the engine can do without does not end a pull.
func TestOptionalFilesMayBeGone(t *testing.T) {
	h, rows := stand(t)
	h.Trouble.Status = map[string]int{"zero_vae_720p_161frame.pt": 404}
	dir := t.TempDir()
	if s := pulled(t, from(t, h), dir, rows); s.Files != 15 {
		t.Errorf("%+v", *s)
	}
	if _, err := weights.Locate(dir).Require("17B"); err != nil {
		t.Error(err)
	}
}

// TestNoHub: answers of something else at the address.
func TestNoHub(t *testing.T) {
	_, rows := stand(t)
	commit := func(w http.ResponseWriter) { w.Header().Set("X-Repo-Commit", rows[0].Revision) }
	for name, c := range map[string]struct {
		answer        http.HandlerFunc
		code, message string
	}{
		"a web server": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }, "revision_moved", `commit ""`},
		"no digest":    {func(w http.ResponseWriter, _ *http.Request) { commit(w) }, "hub_answer", "does not say the file's size and digest"},
		"a cache's tag": {func(w http.ResponseWriter, _ *http.Request) {
			commit(w)
			w.Header().Set("ETag", `"5f-60"`)
		}, "hub_answer", "does not say the file's size and digest"},
		"in circles": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "hub_answer", "in circles"},
		"no ranges": {func(w http.ResponseWriter, r *http.Request) {
			commit(w)
			w.Header().Set("ETag", `"`+strings.Repeat("a", 40)+`"`)
			w.Header().Set("Content-Length", "100000")
			if r.Method == http.MethodGet {
				_, _ = w.Write(make([]byte, 100_000))
			}
		}, "hub_answer", "sends the whole file when a part is asked for"},
		"another range": {func(w http.ResponseWriter, r *http.Request) {
			commit(w)
			w.Header().Set("ETag", `"`+strings.Repeat("a", 40)+`"`)
			w.Header().Set("Content-Length", "1000")
			if r.Method == http.MethodGet {
				w.Header().Set("Content-Range", "bytes 0-999/2000")
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(make([]byte, 1000))
			}
		}, "hub_unreachable", `asked for bytes 0-999/1000 and got "bytes 0-999/2000"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.answer)
			defer s.Close()
			file := weights.File{Path: "x", Repo: rows[0].Repo, Revision: rows[0].Revision, Source: "x"}
			f := refused(t, Config{Endpoint: s.URL, Cache: t.TempDir(), limits: scaled}, t.TempDir(), []weights.File{file})
			if f.Code != c.code || !strings.Contains(f.Error(), c.message) {
				t.Errorf("%s: %v", f.Code, f)
			}
		})
	}
	s := httptest.NewServer(nil)
	s.Close() // nobody listens there now
	if f := refused(t, Config{Endpoint: s.URL, limits: scaled}, t.TempDir(), rows[:1]); f.Code != "hub_unreachable" || !f.Retryable || !strings.Contains(f.Error(), "connection refused") {
		t.Errorf("%s: %v", f.Code, f)
	}
}

// TestDowngrade: from https nothing leads to http, where everybody could read and change what is sent.
func TestDowngrade(t *testing.T) {
	_, rows := stand(t)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
	}))
	defer s.Close()
	h, err := newHub(Config{Endpoint: s.URL, limits: scaled}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	h.client.Transport = s.Client().Transport
	if _, err := h.look(t.Context(), rows[0]); fault.CodeOf(err) != "hub_answer" || !strings.Contains(err.Error(), "no https address") {
		t.Errorf("%v", err)
	}
}

// TestWhatIsThereIsLeftAlone: a file that is not the published one may be somebody's own.
func TestWhatIsThereIsLeftAlone(t *testing.T) {
	h, rows := stand(t)
	cfg, dir := from(t, h), t.TempDir()
	name := filepath.Join(dir, rows[0].Path)
	write := func(content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	good := files(t, golden)[rows[0].Path]
	for want, content := range map[string]string{
		name + " has 4 bytes and the published file has 2543759. It is left as it is": "mine",
		name + " has the published file's size and other bytes. It is left as it is":  strings.Repeat("x", len(good)),
	} {
		write(content)
		_, err := Pull(t.Context(), cfg, weights.Locate(dir), rows[:1], zerolog.Nop(), ignore)
		if fault.CodeOf(err) != "unexpected_file" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != content {
			t.Errorf("the file was changed (%v)", err)
		}
	}
	if h.Stats().Sent != 0 {
		t.Errorf("%d bytes were sent before", h.Stats().Sent)
	}

	// The right one is recorded, and not written again.
	write(good)
	if err := os.WriteFile(name+incomplete, nil, 0o644); err != nil { // as a pull leaves it that is killed at its very end
		t.Fatal(err)
	}
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if s := pulled(t, cfg, dir, rows); s.Found != 1 || s.Fetched != total(t)-int64(len(good)) {
		t.Errorf("%+v", *s)
	}
	same(t, dir)
	if after, err := os.Stat(name); err != nil || !os.SameFile(before, after) || after.ModTime() != before.ModTime() {
		t.Errorf("the file was written again (%v)", err)
	}

	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(name, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Pull(t.Context(), cfg, weights.Locate(dir), rows, zerolog.Nop(), ignore)
	if fault.CodeOf(err) != "unexpected_file" || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a folder: %v", err)
	}
}

// TestAppearedMeanwhile: nor is a file written over that was put there during the download.
func TestAppearedMeanwhile(t *testing.T) {
	h, rows := stand(t)
	dir := t.TempDir()
	name := filepath.Join(dir, rows[0].Path)
	_, err := Pull(t.Context(), from(t, h), weights.Locate(dir), rows[:1], zerolog.Nop(), func(p Progress) {
		if p.Phase == Checking {
			_ = os.WriteFile(name, []byte("mine"), 0o644)
		}
	})
	if b, _ := os.ReadFile(name); string(b) != "mine" || fault.CodeOf(err) != "unexpected_file" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestVolumes(t *testing.T) {
	h, rows := stand(t)
	cfg := from(t, h)

	// No folder can be made in /sys, not even by root.
	if f := refused(t, cfg, "/sys/humo-weights", rows); f.Code != "volume_not_writable" || !strings.Contains(f.Message, "mount the volume for writing") {
		t.Errorf("%v", f)
	}

	// The folder is a file.
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), cfg, weights.Locate(name), rows, zerolog.Nop(), ignore); fault.CodeOf(err) != "volume_failed" {
		t.Errorf("%v", err)
	}

	// The disk is full once bytes arrive. /dev/full takes none.
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, rows[0].Path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(dir, rows[0].Path)+incomplete); err != nil {
		t.Fatal(err)
	}
	_, err := Pull(t.Context(), cfg, weights.Locate(dir), rows[:1], zerolog.Nop(), ignore)
	if fault.CodeOf(err) != "disk_full" || !strings.Contains(err.Error(), "what has arrived is kept. Make room") {
		t.Errorf("%v", err)
	}

	// It has no room to begin with: nothing is fetched.
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	sent := h.Stats().Sent
	if err := roomFor(dir, 1<<60); fault.CodeOf(err) != "disk_full" || !strings.Contains(err.Error(), "1152921504.6 GB are still to be fetched") {
		t.Errorf("%v", err)
	}
	if err := roomFor(dir, int64(st.Bavail)*st.Bsize/2); err != nil {
		t.Errorf("%v", err)
	}
	if h.Stats().Sent != sent {
		t.Error("bytes were fetched")
	}
}

// TestRoomIsCheckedFirst: a hub that promises a huge file gets no request for it.
func TestRoomIsCheckedFirst(t *testing.T) {
	_, rows := stand(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead {
			t.Error("the file was asked for")
		}
		w.Header().Set("X-Repo-Commit", rows[0].Revision)
		w.Header().Set("X-Linked-Etag", strings.Repeat("a", 64))
		w.Header().Set("X-Linked-Size", "1152921504606846976")
	}))
	defer s.Close()
	file := weights.File{Path: "x", Repo: rows[0].Repo, Revision: rows[0].Revision, Source: "x"}
	if f := refused(t, Config{Endpoint: s.URL, Cache: t.TempDir(), limits: scaled}, t.TempDir(), []weights.File{file}); f.Code != "disk_full" || !strings.Contains(f.Message, "nothing was fetched") {
		t.Errorf("%v", f)
	}
}

func TestDemoFolderIsRefused(t *testing.T) {
	h, rows := stand(t)
	dir := t.TempDir()
	if err := weights.WriteDemo(dir); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	_, err := Pull(t.Context(), from(t, h), weights.Locate(dir), rows, zerolog.Nop(), ignore)
	if fault.CodeOf(err) != "demo_folder" || !strings.Contains(err.Error(), "name another folder with --dir") {
		t.Errorf("%v", err)
	}
	if d := cmp.Diff(before, files(t, dir)); d != "" || h.Stats().Requests > 0 {
		t.Errorf("the demo was touched, or the hub asked: %s", d)
	}
}

func TestEndpoints(t *testing.T) {
	for _, bad := range []string{"hub", "ftp://hub", "https://", "https://user:secret@hub", "https://hub/?a=b", "https://hub/#a", "://"} {
		err := Config{Endpoint: bad}.Validate()
		if fault.CodeOf(err) != "invalid_setting" || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", bad, err)
		}
		if _, err := Pull(t.Context(), Config{Endpoint: bad}, weights.Locate(t.TempDir()), nil, zerolog.Nop(), ignore); fault.CodeOf(err) != "invalid_setting" {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, good := range []string{"", "https://hub", "http://hub:8080/", "https://hub/mirror/"} {
		if err := (Config{Endpoint: good}).Validate(); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	h, err := newHub(Config{Endpoint: "https://hub/mirror/", limits: scaled}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	want := "https://hub/mirror/a/b/resolve/c0/dir/odd%20name%3F.pt"
	if got := h.address(weights.File{Repo: "a/b", Revision: "c0", Source: "dir/odd name?.pt"}).String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAskedWait(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second},
		{"Retry-After", "-7", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "99999999999999999999", 0},
		{"Retry-After", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0},
		{"RateLimit", `"resolvers";r=0;t=55`, 56 * time.Second},
		{"RateLimit", `"resolvers";r=0`, 0},
		{"X-Other", "7", 0},
	} {
		h := http.Header{}
		h.Set(c.name, c.value)
		if got := askedWait(h); got != c.want {
			t.Errorf("%s: %s is %s, want %s", c.name, c.value, got, c.want)
		}
	}
	h := http.Header{"Retry-After": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}
	if got := askedWait(h); got < 59*time.Minute || got > time.Hour {
		t.Errorf("in an hour: %s", got)
	}
}

// TestNoHTTP2: it would send all parts through one connection.
func TestNoHTTP2(t *testing.T) {
	_, rows := stand(t)
	protocol := ""
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol = r.Proto
		http.NotFound(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	h, err := newHub(Config{Endpoint: s.URL, limits: scaled}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	h.client.Transport.(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	if _, err := h.look(t.Context(), rows[0]); fault.CodeOf(err) != "revision_moved" || protocol != "HTTP/1.1" {
		t.Errorf("%s, %v", protocol, err)
	}
}
