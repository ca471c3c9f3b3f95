package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/gpu"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
)

var small = Size{inference.Variant1B, 64, 32, 5}

// processor are the settings of a worker that computes on the CPU.
func processor() inference.Config {
	return inference.Config{ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}, Device: inference.DeviceConfig{GPUs: gpu.None}}
}

// demo writes the demo weights, and gives temporary files a folder of their own, which must be empty in the end.
func demo(t *testing.T) (dir string) {
	t.Helper()
	dir, scratch := t.TempDir(), t.TempDir()
	if err := weights.WriteDemo(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", scratch)
	t.Cleanup(func() {
		if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v (%v)", left, err)
		}
	})
	return dir
}

func TestNetworks(t *testing.T) {
	dir := demo(t)
	for _, n := range []Network{DiT, VAE, Text, Audio, E2E, Products} {
		t.Run(string(n), func(t *testing.T) {
			r, err := Run(t.Context(), processor(), n, Options{Size: small, Weights: dir, Repeats: 2}, zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			main := r.Results[0]
			if s := main.Seconds; s.Runs != 2 || s.Min <= 0 || s.Min > s.Median || s.Median > s.Max {
				t.Errorf("seconds %+v", s)
			}
			if main.Products.Min <= 0 || main.PeakOwnBytes <= 0 || main.PeakBytes < main.PeakOwnBytes || main.PeakCardBytes != 0 {
				t.Errorf("%+v", main)
			}
			if n != E2E && (main.FLOP <= 0 || main.Rate*main.Seconds.Median < main.FLOP*0.999 ||
				main.Share*main.Products.Median < main.Rate*0.999) {
				t.Errorf("arithmetic %+v", main)
			}
			if n == E2E && len(r.Results) < 5 {
				t.Errorf("stages %+v", r.Results)
			}
			if r.Machine.Provider != "CPU" || r.ONNXRuntime == "" || r.Synthetic || r.Blocks != 0 {
				t.Errorf("%+v", r)
			}
			var text bytes.Buffer
			if err := r.Write(&text); err != nil || !strings.Contains(text.String(), main.Name+" ") || !strings.Contains(text.String(), "2 runs") {
				t.Errorf("%v\n%s", err, &text)
			}
			data, err := json.Marshal(r)
			if err == nil {
				err = json.Unmarshal(data, new(Report))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A script that speaks as scripts/bench-torch does takes turns with the network.
func TestTorch(t *testing.T) {
	dir := demo(t)
	run := func(t *testing.T, script string) (*Report, error) {
		file := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		o := Options{Size: small, Weights: dir, Repeats: 3, Python: "sh", Script: file}
		return Run(t.Context(), processor(), DiT, o, zerolog.Nop())
	}
	r, err := run(t, `echo "$1" | grep -q '"task":"dit","dim":128,"ffn":256,"blocks":2' || exit 3
echo "$2" | grep -q '"device":"cpu","dtype":"float32"' || exit 3
echo '{"torch":"9.9"}'; n=0
while read -r line; do n=$((n+1)); echo "{\"seconds\":$n}"; done`)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Results[0].Torch
	if c == nil || c.Version != "9.9" || c.Seconds != (Spread{3, 2, 4, 3}) || c.Ratio != 3/r.Results[0].Seconds.Median {
		t.Errorf("%+v", c)
	}
	for name, script := range map[string]string{
		"no torch":      "echo 'ModuleNotFoundError: no torch here' >&2; exit 1",
		"breaks off":    `echo '{"torch":"9.9"}'; read -r line; echo 'no torch here' >&2; exit 1`,
		"no JSON":       `echo '{"torch":"9.9"}'; read -r line; echo 'no torch here' >&2; echo done; cat`,
		"ends at once ": "echo no torch here >&2",
	} {
		if _, err := run(t, script); fault.CodeOf(err) != "no_torch" || !strings.Contains(err.Error(), "no torch here") {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := Options{Size: small, Weights: dir, Repeats: 1, Python: "no-such-python", Script: "bench_test.go"}
	if _, err := Run(t.Context(), processor(), DiT, o, zerolog.Nop()); fault.CodeOf(err) != "no_torch" {
		t.Errorf("no Python: %v", err)
	}
	o.Script = "no-such-script"
	if _, err := Run(t.Context(), processor(), DiT, o, zerolog.Nop()); fault.CodeOf(err) != "no_torch" {
		t.Errorf("no script: %v", err)
	}
}

// A measurement that would take minutes ends at once, and so does the process that it compares with.
func TestCancel(t *testing.T) {
	dir := demo(t)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(`echo '{"torch":"9.9"}'; read -r line; exec sleep 300`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	_, err := Run(ctx, processor(), DiT, Options{Size: small, Weights: dir, Repeats: 1, Python: "sh", Script: script}, zerolog.Nop())
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	_, err = Run(ctx, processor(), VAE, Options{Size: small, Weights: dir, Repeats: 1}, zerolog.Nop())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("begun too late: %v", err)
	}
}

func TestNoCard(t *testing.T) {
	demo(t)
	o := Options{Size: small, Repeats: 1, Probe: func(ctx context.Context) ([]byte, error) {
		return nil, ProbeAttention(ctx, processor(), small, zerolog.Nop())
	}}
	t.Setenv(kernelEntry, "") // is set by the probe; this restores it
	_, err := Run(t.Context(), processor(), GPU, o, zerolog.Nop())
	if fault.CodeOf(err) != "no_gpu" || !strings.Contains(err.Error(), "bench dit") {
		t.Errorf("%v", err)
	}
}

func TestTooLarge(t *testing.T) {
	if TooLarge(nil) || TooLarge(errors.New("no")) || !TooLarge(fault.New("out_of_memory", "", "no")) ||
		!TooLarge(errors.New("bfc_arena.cc: Failed to allocate memory for requested buffer")) {
		t.Error("memory is told from other reasons otherwise")
	}
}

func TestBadCounts(t *testing.T) {
	for _, o := range []Options{{Size: small}, {Size: small, Repeats: -1}, {Size: small, Repeats: 1, Blocks: -1}} {
		if _, err := Run(t.Context(), processor(), DiT, o, zerolog.Nop()); fault.CodeOf(err) != "bad_count" {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// What is written is the measured network as published, with the blocks that are wanted.
func TestDims(t *testing.T) {
	published := weights.PublishedDims()
	for _, c := range []struct {
		network Network
		size    Size
		blocks  int
		check   func(d weights.Dims) bool
		all     int
	}{
		{DiT, small, 2, func(d weights.Dims) bool {
			return d.DiT17B == nil && d.DiT1B.Dim == 1536 && d.DiT1B.Layers == 2 && d.VAE.Dim < 96
		}, 30},
		{DiT, Size{inference.Variant17B, 64, 64, 5}, 0, func(d weights.Dims) bool {
			return d.DiT1B == nil && *d.DiT17B == *published.DiT17B
		}, 40},
		{GPU, small, 99, func(d weights.Dims) bool { return *d.DiT1B == *published.DiT1B && *d.VAE == *published.VAE }, 30},
		{VAE, small, 1, func(d weights.Dims) bool { return d.DiT1B.Dim < 1536 && *d.VAE == *published.VAE }, 0},
		{Text, small, 1, func(d weights.Dims) bool { return d.UMT5.Dim == 4096 && d.UMT5.Layers == 1 }, 24},
		{Audio, small, 1, func(d weights.Dims) bool { return *d.Whisper == *published.Whisper }, 0},
		{E2E, small, 1, func(d weights.Dims) bool {
			return d.DiT1B.Layers == 1 && d.UMT5.Dim == d.DiT1B.Text && d.Whisper.Dim == d.DiT1B.Audio
		}, 30},
	} {
		b := &bench{Options: Options{Size: c.size, Blocks: c.blocks}}
		d, all := b.dims(c.network)
		if !c.check(d) || all != c.all || d.PassThrough {
			t.Errorf("%s: %+v, %d blocks", c.network, d, all)
		}
	}
}

// A pass in 8 bits is measured as such, and where it cannot be, the table and the check leave it out.
func TestInt8(t *testing.T) {
	entries := Entries(false)
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Int8 })
	if (i >= 0) != ort.Int8Exact() {
		t.Fatalf("entry %d", i)
	}
	if i < 0 {
		t.Skip("this processor has no VNNI instructions")
	}
	if args := entries[i].Args("", ""); !slices.Contains(args, "--int8") || !entries[i].Guard {
		t.Errorf("%+v: %v", entries[i], args)
	}
	r, err := Run(t.Context(), processor(), DiT, Options{Size: small, Weights: demo(t), Repeats: 1, Int8: true}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.Write(&text); err != nil || !r.Int8 || r.Results[0].Name != "DiT pass, 8-bit" || !strings.Contains(text.String(), "linear layers in int8") {
		t.Errorf("%v\n%s", err, &text)
	}
}
