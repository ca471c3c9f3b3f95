package weights

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

const golden = "../../testdata/golden/dev/weights"

func TestPublishedTable(t *testing.T) {
	seen := map[string]bool{}
	hex := regexp.MustCompile(`^[0-9a-f]*$`)
	for _, f := range Published() {
		if seen[f.Path] {
			t.Errorf("%s is listed twice", f.Path)
		}
		seen[f.Path] = true
		if f.Repo == "" || f.Source == "" || f.Purpose == "" || len(f.Revision) != 40 || !hex.MatchString(f.Revision+f.SHA256) {
			t.Errorf("incomplete or malformed row: %+v", f)
		}
		if !strings.HasSuffix(f.Path, f.Source) {
			t.Errorf("%s does not end in its path %s in the repository", f.Path, f.Source)
		}
	}
	if len(seen) != 14 {
		t.Errorf("%d rows, want the 14 of the published layout", len(seen))
	}
}

func TestRequireFindsThePublishedLayout(t *testing.T) {
	root, err := filepath.Abs(golden)
	if err != nil {
		t.Fatal(err)
	}
	l := Locate(golden)
	want := Files{
		DiT:       filepath.Join(root, "HuMo/HuMo-1.7B/ema.pth"),
		VAE:       filepath.Join(root, "Wan2.1-T2V-1.3B/Wan2.1_VAE.pth"),
		UMT5:      filepath.Join(root, "Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth"),
		Tokenizer: filepath.Join(root, "Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json"),
		Whisper:   filepath.Join(root, "whisper-large-v3/model.safetensors"), WhisperConfig: filepath.Join(root, "whisper-large-v3/config.json"),
	}
	got, err := l.Require("1.7B")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	want.DiT = filepath.Join(root, "HuMo/HuMo-17B/humo.safetensors.index.json")
	want.ZeroVAE = []string{filepath.Join(root, "HuMo/zero_vae_129frame.pt"), filepath.Join(root, "HuMo/zero_vae_720p_161frame.pt")}
	if got, err = l.Require("17B"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&want, got); d != "" {
		t.Error(d)
	}
	if heads, err := got.WhisperHeads(); heads != 3 || err != nil {
		t.Errorf("WhisperHeads() = %d, %v; want 3", heads, err)
	}
}

// require returns the fault that Require gives for a folder.
func require(t *testing.T, root, variant string) *fault.Error {
	t.Helper()
	_, err := Locate(root).Require(variant)
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("Require(%s) = %v, want a fault", variant, err)
	}
	return f
}

func TestMissingFilesAreListedInOneMessage(t *testing.T) {
	f := require(t, "/no/such", "1.7B")
	want := `6 weight files of the 1.7B variant cannot be used:
  HuMo/HuMo-1.7B/ema.pth (diffusion transformer, 1.7B, 7.0 GB) is missing; expected at /no/such/HuMo/HuMo-1.7B/ema.pth
  Wan2.1-T2V-1.3B/Wan2.1_VAE.pth (video autoencoder, 507.6 MB) is missing; expected at /no/such/Wan2.1-T2V-1.3B/Wan2.1_VAE.pth
  Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth (text encoder, 11.4 GB) is missing; expected at /no/such/Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth
  Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json (text tokenizer, 16.8 MB) is missing; expected at /no/such/Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json
  whisper-large-v3/model.safetensors (audio encoder, 3.1 GB) is missing; expected at /no/such/whisper-large-v3/model.safetensors
  whisper-large-v3/config.json (the audio encoder's number of heads) is missing; expected at /no/such/whisper-large-v3/config.json
Fetch them with: humo-worker weights pull --variant 1.7B --dir /no/such
Or write a tiny trial set with: humo-worker weights demo --dir /no/such
If the files lie elsewhere, set HUMO_WEIGHTS to the folder above HuMo/.`
	if d := cmp.Diff(want, f.Message); d != "" || f.Code != "missing_weights" || f.Field != "HUMO_WEIGHTS" {
		t.Errorf("code %q, field %q, message differs:\n%s", f.Code, f.Field, d)
	}
}

func TestMissingSeparator(t *testing.T) {
	root := link(t, pathSeparator) // the set has none: no job of its kind needs it
	if _, err := Locate(root).Require("1.7B"); err != nil {
		t.Fatal(err)
	}
	_, err := Locate(root).Separator("17B")
	want := "isolate_vocals: audio_separator/Kim_Vocal_2.onnx (vocal separator, 66.8 MB) is missing; expected at " + filepath.Join(root, pathSeparator) +
		"\nFetch it with: humo-worker weights pull --variant 17B --dir " + root + "\nOr leave isolate_vocals out."
	if fault.CodeOf(err) != "missing_weights" || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	dir := demo(t)
	if err := os.Truncate(filepath.Join(dir, pathSeparator), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Locate(dir).Separator("1.7B"); err == nil || !strings.Contains(err.Error(), "is empty;") || !strings.Contains(err.Error(), "Repair it with: humo-worker weights demo --dir "+dir) {
		t.Errorf("demo: %v", err)
	}
}

// link builds a folder of links to the golden weights, without the given files.
func link(t *testing.T, except ...string) string {
	t.Helper()
	root := t.TempDir()
	from, err := filepath.Abs(golden)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(from, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		for _, e := range except {
			if e == filepath.ToSlash(rel) {
				return nil
			}
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, rel)), 0o755); err != nil {
			return err
		}
		return os.Symlink(name, filepath.Join(root, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestRequireFollowsTheIndex(t *testing.T) {
	const shard = "HuMo/HuMo-17B/humo-00002-of-00003.safetensors"
	root := link(t, shard, pathZeroVAE720, pathSentencePiece)
	f := require(t, root, "17B")
	for _, want := range []string{"1 weight file of the 17B variant", shard + " (a shard of the diffusion transformer) is missing",
		"weights pull --variant 17B --dir " + root, "weights demo --dir " + root + "-demo and set HUMO_WEIGHTS"} {
		if !strings.Contains(f.Message, want) {
			t.Errorf("message lacks %q:\n%s", want, f.Message)
		}
	}
	got, err := Locate(root).Require("1.7B") // needs neither shard nor zero_vae nor spiece.model
	if err != nil || got.ZeroVAE != nil {
		t.Errorf("1.7B: %+v, %v", got, err)
	}
	root = link(t, pathZeroVAE720)
	if got, err = Locate(root).Require("17B"); err != nil || len(got.ZeroVAE) != 1 {
		t.Errorf("17B with one zero_vae file: %+v, %v", got, err)
	}
}

func TestRequireRefusesHostileIndexes(t *testing.T) {
	for name, text := range map[string]string{
		"outside":  `{"weight_map": {"a": "../../secret.safetensors"}}`,
		"absolute": `{"weight_map": {"a": "/etc/passwd"}}`,
		"no map":   `{"metadata": {}}`,
		"no JSON":  `weights`,
	} {
		root := link(t, pathDiT17B)
		write(t, filepath.Join(root, pathDiT17B), text)
		if f := require(t, root, "17B"); f.Code != "bad_weights" || f.Field != pathDiT17B {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestUnusableFiles(t *testing.T) {
	root := link(t, pathVAE, pathTokenizer)
	write(t, filepath.Join(root, pathTokenizer), "")
	if err := os.Mkdir(filepath.Join(root, pathVAE), 0o755); err != nil {
		t.Fatal(err)
	}
	f := require(t, root, "1.7B")
	for _, want := range []string{pathVAE + " (video autoencoder, 507.6 MB) is a folder, not a file", pathTokenizer + " (text tokenizer, 16.8 MB) is empty"} {
		if !strings.Contains(f.Message, want) {
			t.Errorf("message lacks %q:\n%s", want, f.Message)
		}
	}
	if f := require(t, root, "14B"); f.Code != "unknown_variant" || f.Field != "variant" {
		t.Error(f)
	}
	for _, text := range []string{`{"encoder_attention_heads": 0}`, `{}`, `{"encoder_attention_heads": "3"}`, ``} {
		write(t, filepath.Join(root, "config.json"), text)
		if heads, err := (&Files{WhisperConfig: filepath.Join(root, "config.json")}).WhisperHeads(); fault.CodeOf(err) != "bad_weights" {
			t.Errorf("heads of %q = %d, %v", text, heads, err)
		}
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"/a/b-1": "/a/b-1", "/a b": "'/a b'", "it's": `'it'\''s'`, "": "''", "$HOME": "'$HOME'"} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if got, want := (Config{}).Dir(), filepath.Join(dir, "weights"); got != want {
		t.Errorf("default = %s, want %s", got, want)
	}
	volume := filepath.Join(dir, "volume")
	defer func(old []string) { defaultRoots = old }(defaultRoots)
	defaultRoots = []string{volume, "weights"}
	if err := os.MkdirAll(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := (Config{}).Dir(); got != volume {
		t.Errorf("default with a volume = %s, want %s", got, volume)
	}
	if got := (Config{CacheDir: "/b"}).Dir(); got != "/b" {
		t.Errorf("alias = %s", got)
	}
	if got := (Config{Root: "/a", CacheDir: "/b"}).Dir(); got != "/a" {
		t.Errorf("both = %s", got)
	}
	file := filepath.Join(dir, "file")
	write(t, file, "x")
	for _, c := range []Config{{}, {Root: "/no/such"}, {Root: volume, CacheDir: file}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Config{{Root: file}, {CacheDir: file}} {
		if err := c.Validate(); fault.CodeOf(err) != "invalid_setting" {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
