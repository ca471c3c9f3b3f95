package parity

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/golden"
	"github.com/humo-worker/humo-worker/inference/gpu"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// devSet is the development set; see its README.
const devSet = "../../testdata/golden/dev"

func openEngine(t *testing.T, dir string, dtype inference.DType) *inference.Engine {
	t.Helper()
	e, err := inference.Open(inference.Config{
		Weights: weights.Config{Root: filepath.Join(dir, "weights")},
		ORT:     ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")},
		Device:  inference.DeviceConfig{GPUs: gpu.None, DType: dtype},
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
			e := openEngine(t, devSet, inference.FP32)
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

// In 16 bits, as a card computes and the CPU emulates it, the engine is within the golden set's bounds for them.
func TestGoldenSetIn16Bits(t *testing.T) {
	for _, dtype := range []inference.DType{inference.BF16, inference.FP16} {
		t.Run(string(dtype), func(t *testing.T) {
			var report strings.Builder
			total, failed, err := Run(t.Context(), openEngine(t, devSet, dtype), devSet, &report)
			if err != nil || failed > 0 || total != 30 {
				t.Errorf("%d of %d cases failed, error %v", failed, total, err)
			}
			t.Log("\n" + report.String())
		})
	}
}

// The bounds for 16 bits are wide enough for rounding, not for mistakes.
func TestRulesFor16BitsFail(t *testing.T) {
	e := openEngine(t, devSet, inference.BF16)
	s, err := golden.Open(devSet)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Cases {
		switch c.Name {
		case "dit_1_7b_grid0", "e2e_1_7b_ta", "t5":
		default:
			continue
		}
		if err := c.Load(); err != nil {
			t.Fatal(err)
		}
		for name := range c.Index.Tensors {
			for _, dtype := range []inference.DType{inference.BF16, inference.FP16} {
				r := ruleOf(dtype, c, name)
				if r == (rule{}) {
					continue
				}
				right, shape, err := c.Floats(name)
				if err != nil {
					t.Fatal(err)
				}
				if d := r.compare(c, name, golden.Floats(right, shape...)); d.Err != nil || d.MaxAbs > 1e-12 {
					t.Errorf("%s in %s: the expected numbers themselves fail: %+v", name, dtype, d)
				}
				wrong := func(change func(x []float32)) golden.Array {
					x := slices.Clone(right)
					change(x)
					return golden.Floats(x, shape...)
				}
				for label, have := range map[string]golden.Array{
					"one value in a thousand is lost": wrong(func(x []float32) {
						for i := 0; i < len(x); i += min(1000, len(x)/2) {
							x[i] = 100
						}
					}),
					"every tenth value has the other sign": wrong(func(x []float32) {
						for i := 0; i < len(x); i += 10 {
							x[i] = -x[i]
						}
					}),
					"rows moved by one": wrong(func(x []float32) { copy(x, right[1:]) }),
					"zeros":             wrong(func(x []float32) { clear(x) }),
					"not a number":      wrong(func(x []float32) { x[3] = float32(math.NaN()) }),
					"another shape":     golden.Floats(right, int64(len(right))),
				} {
					if d := r.compare(c, name, have); d.Err == nil {
						t.Errorf("%s of %s in %s: accepted, though %s (%g)", name, c.Name, dtype, label, d.MaxAbs)
					}
				}
			}
		}
	}
	// A forward on other latents than the case's: what the network was given is wrong, not its arithmetic.
	c := s.Cases[slices.IndexFunc(s.Cases, func(c *golden.Case) bool { return c.Name == "dit_1_7b_grid0" })]
	c.Index.Tensors["in.x"] = c.Index.Tensors["out.pred"]
	got, err := transformerCase(t.Context(), e, c)
	if err != nil {
		t.Fatal(err)
	}
	if v := compareAll(c, got, inference.BF16); v.ok {
		t.Errorf("a forward on wrong latents is accepted: %+v", v)
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
