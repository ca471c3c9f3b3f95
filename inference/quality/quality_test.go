package quality

import (
	"os"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/gpu"
	"github.com/humo-worker/humo-worker/inference/ort"
)

// Rows of the tiny weights: the exact clip is its own measure, and what ran is counted.
func TestCompare(t *testing.T) {
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	cfg := inference.Config{ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}, Device: inference.DeviceConfig{GPUs: gpu.None}}
	rows, err := Compare(t.Context(), cfg, Options{Variant: inference.Variant1B, Width: 64, Height: 32, Frames: 5, Steps: 6}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		t.Logf("%+v", r)
		passes := 3
		if i >= 3 {
			passes = 1
		}
		if p := r.Passes; p.Run+p.Reused+p.Gated != passes*r.Steps || r.Seconds <= 0 {
			t.Errorf("%+v", r)
		}
		if alone := i == 0 || i == 3; (r.Latents == 0) != alone || (r.PSNR == 0) != alone {
			t.Errorf("%s: the latents are %g away, PSNR %g", r.Name, r.Latents, r.PSNR)
		}
	}
	if len(rows) < 4 || rows[0].Passes.Run != 18 || rows[1].Passes.Gated == 0 || rows[2].Steps != 3 || rows[3].Passes.Run != 6 {
		t.Fatalf("%+v", rows)
	}
	if !ort.Int8Exact() {
		t.Log("this processor has no VNNI instructions: nothing is made in 8 bits")
	} else if r := rows[4]; r.Against != rows[3].Name || r.Steps != rows[3].Steps || !(r.Latents > 1e-5 && r.Latents < 0.15) {
		t.Errorf("%+v", r)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// The formula: reused steps stay close to the exact result, far closer than as few steps; the gate spares what it promises.
func TestAnalytic(t *testing.T) {
	for _, v := range []inference.Variant{inference.Variant1B, inference.Variant17B} {
		rows, err := Analytic(v, 50)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			t.Logf("%s %+v", v, r)
			if (r.Latents == 0) != (i == 0) {
				t.Errorf("%s %s: %g away", v, r.Name, r.Latents)
			}
		}
		if reused, halved := rows[2], rows[4]; reused.Latents > 0.03 || reused.Latents > halved.Latents/3 || reused.Passes.Run > halved.Passes.Run {
			t.Errorf("%s: %+v against %+v", v, reused, halved)
		}
		if reuse := rows[2].Passes; reuse.Reused < 30 || reuse.Gated != 0 || rows[1].Passes.Gated != 11 || rows[1].Passes.Reused != 0 {
			t.Errorf("%s: %+v", v, rows)
		}
	}
}
