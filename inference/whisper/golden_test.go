package whisper

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

const goldenCases = "../../testdata/golden/dev/cases"

// golden is one case of the golden set: what the reference computed, and how far from it we may be.
type golden struct {
	floats    map[string][]float32
	ints      map[string][]int64
	Config    map[string]json.RawMessage `json:"config"`
	Tolerance map[string]json.RawMessage `json:"tolerance"`
}

func openGolden(t *testing.T, name string) *golden {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(goldenCases, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Cases []json.RawMessage `json:"cases"`
	}
	if err := json.Unmarshal(index, &all); err != nil {
		t.Fatal(err)
	}
	for _, raw := range all.Cases {
		var label struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(raw, &label); err != nil {
			t.Fatal(err)
		}
		if label.Name != name {
			continue
		}
		g := &golden{}
		if err := json.Unmarshal(raw, g); err != nil {
			t.Fatal(err)
		}
		g.read(t, filepath.Join(goldenCases, name+".safetensors"))
		return g
	}
	t.Fatalf("no golden case %q", name)
	return nil
}

// read loads every tensor. The integers stored in these cases are small enough to pass through float32.
func (g *golden) read(t *testing.T, path string) {
	t.Helper()
	index, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	g.floats, g.ints = map[string][]float32{}, map[string][]int64{}
	for name, tensor := range index.Tensors {
		values, err := tensor.Float32()
		if err != nil {
			t.Fatal(err)
		}
		if tensor.DType == checkpoint.F32 {
			g.floats[name] = values
			continue
		}
		for _, v := range values {
			g.ints[name] = append(g.ints[name], int64(v))
		}
	}
}

func (g *golden) config(t *testing.T, key string, into any) {
	t.Helper()
	if err := json.Unmarshal(g.Config[key], into); err != nil {
		t.Fatalf("config.%s: %v", key, err)
	}
}

// near fails unless got equals the stored tensor within its tolerance.
func (g *golden) near(t *testing.T, name string, got []float32) {
	t.Helper()
	want, ok := g.floats[name]
	if !ok || len(got) != len(want) {
		t.Fatalf("%s: got %d values, stored %d (present: %v)", name, len(got), len(want), ok)
	}
	limit := g.tolerance(t, name)
	worst := 0.0
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if math.IsNaN(d) || d > worst {
			worst = d
		}
		if !(d <= limit) {
			t.Fatalf("%s[%d]: got %v, want %v within %v", name, i, got[i], want[i], limit)
		}
	}
	t.Logf("%s: largest error %.2g, tolerance %.2g", name, worst, limit)
}

func (g *golden) tolerance(t *testing.T, name string) float64 {
	t.Helper()
	var tolerance struct {
		Abs float64 `json:"tol_abs"`
	}
	if err := json.Unmarshal(g.Tolerance[name], &tolerance); err != nil || tolerance.Abs <= 0 {
		t.Fatalf("%s: no tolerance (%v)", name, err)
	}
	return tolerance.Abs
}
