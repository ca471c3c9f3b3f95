package inference

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// packable is a copy of the golden weights that may be written to.
func packable(t *testing.T) weights.Layout {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(goldenWeights)); err != nil {
		t.Fatal(err)
	}
	return weights.Locate(dir)
}

func packedEngine(t *testing.T, l weights.Layout, format string, log *bytes.Buffer) *Engine {
	t.Helper()
	e, err := Open(Config{Weights: weights.Config{Root: l.Root, Packed: format}, ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}}, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// velocity is one pass of the 1.7B on fixed inputs, and the file that the weights came from.
func velocity(t *testing.T, l weights.Layout, format, wantLog string) (v []float32, file string) {
	t.Helper()
	var log bytes.Buffer
	e := packedEngine(t, l, format, &log)
	defer e.Close() //nolint:errcheck // the forward is closed below
	m, err := e.Models(Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	if (wantLog == "") == strings.Contains(log.String(), "packed") || !strings.Contains(log.String(), wantLog) {
		t.Errorf("HUMO_PACKED=%s: the log says %s", format, log.String())
	}
	id, err := e.Identify(t.Context(), Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range id.Weights {
		if strings.HasPrefix(w.Path, "HuMo/HuMo-1.7B/") {
			file = filepath.Base(w.Path)
		}
	}
	size := wan.Grid{Frames: 3, Height: 4, Width: 6}
	values := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(math.Sin(float64(i) * 1.7))
		}
		return x
	}
	tr := m.Transformer
	return predict(t, tr, size, values(5*int(tr.net.TextDim())), values(3*int(tr.net.AudioFeatures())), values(16*3*4*6), 500), file
}

// The packed transformer computes nearly the same, is named in the identity, and is used only where it is asked for and fits.
func TestPackedTransformer(t *testing.T) {
	l := packable(t)
	exact, file := velocity(t, l, "", "")
	if file != "ema.pth" {
		t.Errorf("without a copy the weights are %s", file)
	}
	if v, file := velocity(t, l, "bf16", "cannot be used"); file != "ema.pth" || golden.RelativeL2(v, exact) != 0 {
		t.Errorf("without a copy, HUMO_PACKED=bf16 uses %s", file)
	}
	for format, bound := range map[string]float64{"bf16": 2e-2, "fp16": 2e-3} {
		r, err := Pack(t.Context(), l, Variant1B, format, nil)
		if err != nil {
			t.Fatal(err)
		}
		ix, err := checkpoint.Open(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		if _, unused, err := wan.LoadDiT(ix); err != nil || len(unused) > 0 {
			t.Errorf("%s: the copy holds %q that no network uses; error %v", format, unused, err)
		}
		if r.Bytes > r.Read*6/10 {
			t.Errorf("%s: %d bytes for %d", format, r.Bytes, r.Read)
		}
		v, file := velocity(t, l, format, "the packed transformer is used")
		if got := golden.RelativeL2(v, exact); got == 0 || got > bound || file != "packed-"+format+".safetensors" {
			t.Errorf("%s: relative L2 %.2g of %s", format, got, file)
		} else {
			t.Logf("%s: relative L2 %.2g", format, got)
		}
		if r, err := Pack(t.Context(), l, Variant1B, format, nil); err != nil || !r.Already {
			t.Errorf("%s again: %+v, %v", format, r, err)
		}
	}
	if v, file := velocity(t, l, "off", ""); file != "ema.pth" || golden.RelativeL2(v, exact) != 0 {
		t.Errorf("HUMO_PACKED=off uses %s", file)
	}
	source := l.Path("HuMo/HuMo-1.7B/ema.pth") // one bit of a number changes, in a block that the fingerprint reads
	other, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	other[(len(other)-printBlock)/(printBlocks-1)*31] ^= 1
	if err := os.WriteFile(source, other, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	e := packedEngine(t, l, "bf16", &log)
	defer e.Close() //nolint:errcheck // nothing is open
	f := &weights.Files{DiT: source}
	if e.preferPacked(f); f.DiT != source || !strings.Contains(log.String(), "it was made of another ema.pth") {
		t.Errorf("a copy of another file: %s is used; log %s", f.DiT, log.String())
	}
}
