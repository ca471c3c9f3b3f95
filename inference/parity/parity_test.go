package parity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// devSet is the development set; see its README.
const devSet = "../../testdata/golden/dev"

func openEngine(t *testing.T, dir string) *inference.Engine {
	t.Helper()
	e, err := inference.Open(inference.Config{
		Weights: weights.Config{Root: filepath.Join(dir, "weights")},
		ORT:     ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")},
	}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// The engine equals the reference, with fused operators and with their decomposed twins.
func TestGoldenSet(t *testing.T) {
	for _, form := range []string{"fused", "decomposed"} {
		t.Run(form, func(t *testing.T) {
			e := openEngine(t, devSet)
			if form == "decomposed" {
				e.Decompose()
			}
			var report strings.Builder
			total, failed, err := Run(t.Context(), e, devSet, &report)
			if err != nil || failed > 0 || total != 30 {
				t.Errorf("%d of %d cases failed, error %v", failed, total, err)
			}
			t.Log("\n" + report.String())
		})
	}
}

// A case that nobody knows, a changed expectation and a lost tensor are failures, and the exit says so.
func TestRunReportsFailures(t *testing.T) {
	dir := t.TempDir()
	cases := filepath.Join(dir, "cases")
	if err := os.MkdirAll(cases, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(devSet, "cases", "time_embed.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cases, "time_embed.safetensors"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	const timesteps = `"config": {"t": [0, 1, 7, 92, 437, 500, 937, 999], "dims": [256, 64, 32]}`
	const tight = `{"out.dim256": {"tol_abs": 1e-05}, "out.dim64": {"tol_abs": 1e-05}, "out.dim32": {"tol_abs": 1e-05}}`
	for _, test := range []struct{ name, entry, want string }{
		{"good", `{"name": "time_embed", "file": "time_embed.safetensors", ` + timesteps + `, "tolerance": ` + tight + `}`, "1 cases, 1 ok, 0 failed"},
		{"unknown case", `{"name": "telepathy", "file": "time_embed.safetensors", "tolerance": "exact"}`, "no test is known"},
		{"wrong number", `{"name": "time_embed", "file": "time_embed.safetensors", "config": {"t": [0, 1, 7, 92, 437, 500, 937, 998], "dims": [256, 64, 32]}, "tolerance": ` + tight + `}`, "max |a-b|"},
		{"not computed", `{"name": "time_embed", "file": "time_embed.safetensors", "config": {"t": [0, 1, 7, 92, 437, 500, 937, 999], "dims": [256, 64]}, "tolerance": ` + tight + `}`, "was not computed"},
		{"no tolerance", `{"name": "time_embed", "file": "time_embed.safetensors", ` + timesteps + `, "tolerance": {}}`, "no tolerance is stated"},
		{"expected tensor is lost", `{"name": "time_embed", "file": "time_embed.safetensors", ` + timesteps + `, "tensors": {"out.gone": []}, "tolerance": ` + tight + `}`, "out.gone"},
		{"lost file", `{"name": "time_embed", "file": "gone.safetensors", "tolerance": "exact"}`, "FAIL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(cases, "index.json"), []byte(`{"cases": [`+test.entry+`]}`), 0o644); err != nil {
				t.Fatal(err)
			}
			var report strings.Builder
			total, failed, err := Run(t.Context(), nil, dir, &report)
			if err != nil || total != 1 || (failed == 0) != (test.name == "good") || !strings.Contains(report.String(), test.want) {
				t.Errorf("%d of %d failed, error %v, report:\n%s", failed, total, err, report.String())
			}
		})
	}
}
