package weights

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// TestMain lets a copy of the test binary write a bundle and be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WRITE_DEMO_TO"); dir != "" {
		if err := WriteDemo(dir); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// demo writes a bundle to a new folder.
func demo(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	if err := WriteDemo(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stamps returns path → size and time of every file.
func stamps(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	list := map[string]time.Time{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		list[filepath.ToSlash(rel)] = st.ModTime()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, demoManifest))
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range m.Files {
		if !sameFile(filepath.Join(dir, f.Path), f) {
			t.Errorf("%s is not the file that the manifest lists", f.Path)
		}
		got[f.Path] = f.SHA256[:16]
	}
	return got
}

// demoBytes are the first 16 digits of every file's SHA-256, the same on every machine. If a change of the contents is
// meant, raise demoVersion and renew these.
var demoBytes = map[string]string{
	"HuMo/HuMo-1.7B/ema.pth":                        "2ff199b6e0abb987",
	"HuMo/HuMo-17B/humo-00001-of-00002.safetensors": "c672e6e31c6aadfc",
	"HuMo/HuMo-17B/humo-00002-of-00002.safetensors": "0020af50592816d3",
	"HuMo/HuMo-17B/humo.safetensors.index.json":     "66998162c31325c0",
	"README.txt":                     "3f677577a996c550",
	"Wan2.1-T2V-1.3B/Wan2.1_VAE.pth": "07d06114e422e708",
	"Wan2.1-T2V-1.3B/google/umt5-xxl/special_tokens_map.json": "7b8a9f5040adb67b",
	"Wan2.1-T2V-1.3B/google/umt5-xxl/spiece.model":            "b7bd8f1575399de9",
	"Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer.json":          "f0737fe0c75f9e46",
	"Wan2.1-T2V-1.3B/google/umt5-xxl/tokenizer_config.json":   "961bce29af927180",
	"Wan2.1-T2V-1.3B/models_t5_umt5-xxl-enc-bf16.pth":         "a79c86d4bf304780",
	"audio_separator/Kim_Vocal_2.onnx":                        "b8b52e8f6ec61875",
	"whisper-large-v3/config.json":                            "2a9680e251510a01",
	"whisper-large-v3/model.safetensors":                      "fb928b9c45ebc866",
	"whisper-large-v3/preprocessor_config.json":               "cd406bb4885165cb",
}

func TestDemoBytes(t *testing.T) {
	if d := cmp.Diff(demoBytes, digests(t, demo(t))); d != "" {
		t.Errorf("the demo bundle's contents changed: raise demoVersion and renew demoBytes\n%s", d)
	}
}

func TestDemoIsCompleteAndReadable(t *testing.T) {
	start := time.Now()
	dir := demo(t)
	t.Logf("written in %v", time.Since(start))
	d := DemoDims()
	check(t, filepath.Join(dir, pathDiT1B), ditTensors(*d.DiT1B, checkpoint.F32))
	check(t, filepath.Join(dir, pathDiT17B), ditTensors(*d.DiT17B, checkpoint.BF16))
	check(t, filepath.Join(dir, pathVAE), vaeTensors(*d.VAE))
	check(t, filepath.Join(dir, pathUMT5), umt5Tensors(*d.UMT5))
	check(t, filepath.Join(dir, pathWhisper), whisperTensors(*d.Whisper))
	for _, variant := range []string{variant1B, variant17B} {
		f, err := Locate(dir).Require(variant)
		if err != nil {
			t.Fatal(err)
		}
		if heads, err := f.WhisperHeads(); heads != int(d.Whisper.Heads) || err != nil || !f.Demo || f.ZeroVAE != nil {
			t.Errorf("%s: %d heads, %v, %+v", variant, heads, err, f)
		}
	}
	if file, err := Locate(dir).Separator(variant1B); err != nil || file != filepath.Join(dir, pathSeparator) {
		t.Errorf("separator: %q, %v", file, err)
	}
	for _, f := range published { // the files that nothing reads are there, too
		if f.Need != Optional && inspect(filepath.Join(dir, f.Path)) != "" {
			t.Errorf("the bundle lacks %s", f.Path)
		}
	}
	total := int64(0)
	for name := range stamps(t, dir) {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
	}
	if total > 15e6 {
		t.Errorf("the bundle has %d bytes, want at most 15 MB", total)
	}
}

func TestDemoAgainWritesNothing(t *testing.T) {
	dir := demo(t)
	before := stamps(t, dir)
	if err := WriteDemo(dir); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, stamps(t, dir)); d != "" {
		t.Error(d)
	}
}

func TestDemoIsRepaired(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"a file is gone": func(dir string) error { return os.Remove(filepath.Join(dir, pathVAE)) },
		"a file is cut":  func(dir string) error { return os.Truncate(filepath.Join(dir, pathDiT1B), 1000) },
		"the manifest is gone": func(dir string) error {
			return os.Rename(filepath.Join(dir, demoManifest), filepath.Join(dir, demoMarker))
		},
		"a byte differs": func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, pathWhisper), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1, 2, 3, 4}, 100_000)
			return err
		},
	} {
		dir := demo(t)
		want := digests(t, dir)
		if err := damage(dir); err != nil {
			t.Fatal(err)
		}
		if err := WriteDemo(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, digests(t, dir)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestDemoSurvivesKills(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	killed := 0
	for _, wait := range []int{20, 40, 60, 80, 100, 130} { // ms
		c := exec.Command(os.Args[0], "-test.run=^$")
		c.Env = append(os.Environ(), "WRITE_DEMO_TO="+dir)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(wait) * time.Millisecond)
		if c.Process.Kill() == nil {
			killed++
		}
		_ = c.Wait()
	}
	t.Logf("killed %d writers", killed)
	if err := WriteDemo(dir); err != nil {
		t.Fatal(err)
	}
	digests(t, dir)
	for name := range stamps(t, dir) {
		if strings.HasSuffix(name, partial) || name == demoMarker {
			t.Errorf("%s was left behind", name)
		}
	}
}

func TestTwoWritersAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := WriteDemo(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	digests(t, dir)
	if _, err := os.Stat(filepath.Join(dir, demoMarker)); err == nil {
		t.Error("the marker was left behind")
	}
}

func TestRealWeightsAreNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, pathVAE)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, "real")
	for name, err := range map[string]error{"demo": WriteDemo(dir), "synthetic": WriteSynthetic(t.Context(), dir, DemoDims())} {
		if fault.CodeOf(err) != "weights_exist" || !strings.Contains(err.Error(), pathVAE) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "real" || err != nil {
		t.Errorf("the file was replaced: %q, %v", b, err)
	}
	if got := len(stamps(t, dir)); got != 1 {
		t.Errorf("%d files, want the one that was there", got)
	}
}

func TestBrokenDemoIsNamedAsSuch(t *testing.T) {
	dir := demo(t)
	if err := os.Remove(filepath.Join(dir, pathVAE)); err != nil {
		t.Fatal(err)
	}
	f := require(t, dir, "1.7B")
	if !strings.Contains(f.Message, "Repair it with: humo-worker weights demo --dir "+dir) || strings.Contains(f.Message, "weights pull") {
		t.Error(f.Message)
	}
}

func TestWriteFailureLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	bad := tensor{"t", checkpoint.I64, []int64{2}, around(1, 0)} // a dtype the writers do not know
	p := part{"a/file.pth", torchZip{stem: "s", tensors: []tensor{bad}}.writeTo}
	if _, _, err := p.put(dir, false); err == nil {
		t.Error("no error")
	}
	if left := stamps(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSyntheticSet(t *testing.T) {
	dir := t.TempDir()
	d := DemoDims()
	d.DiT17B, d.Whisper, d.UMT5, d.PassThrough = nil, nil, nil, false
	d.DiT1B.Layers = 1
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WriteSynthetic(ctx, dir, d); !errors.Is(err, context.Canceled) || len(stamps(t, dir)) != 0 {
		t.Errorf("cancelled: %v, %d files", err, len(stamps(t, dir)))
	}
	if err := WriteSynthetic(t.Context(), dir, d); err != nil {
		t.Fatal(err)
	}
	check(t, filepath.Join(dir, pathDiT1B), ditTensors(*d.DiT1B, checkpoint.F32))
	check(t, filepath.Join(dir, pathVAE), vaeTensors(*d.VAE))
	if got := len(stamps(t, dir)); got != 2 {
		t.Errorf("%d files, want 2", got)
	}
}

// BenchmarkSynthetic measures the writer on two layers of the published 1.7B.
func BenchmarkSynthetic(b *testing.B) {
	d := PublishedDims().DiT1B
	d.Layers = 2
	list := ditTensors(*d, checkpoint.F32)
	total := int64(0)
	for _, t := range list {
		total += t.bytes()
	}
	b.SetBytes(total)
	for b.Loop() {
		p := part{"ema.pth", torchZip{stem: "archive", modern: true, tensors: list}.writeTo}
		if _, _, err := p.put(b.TempDir(), false); err != nil {
			b.Fatal(err)
		}
	}
}
