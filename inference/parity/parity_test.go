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

// golden is the development set; see its README.
const golden = "../../testdata/golden/dev"

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
			e := openEngine(t, golden)
			if form == "decomposed" {
				e.Decompose()
			}
			var report strings.Builder
			total, failed, err := Run(t.Context(), e, golden, &report)
			if err != nil || failed > 0 || total != 30 {
				t.Errorf("%d of %d cases failed, error %v", failed, total, err)
			}
			t.Log("\n" + report.String())
		})
	}
}
