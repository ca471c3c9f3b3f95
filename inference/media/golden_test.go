package media

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

const goldenCases = "../../testdata/golden/dev/cases"

// golden opens a case's tensors and reads its config into config.
func golden(t *testing.T, name string, config any) *checkpoint.Index {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenCases, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Cases []struct {
			Name, File string
			Config     json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	for _, c := range index.Cases {
		if c.Name != name {
			continue
		}
		if err := json.Unmarshal(c.Config, config); err != nil {
			t.Fatal(err)
		}
		ix, err := checkpoint.Open(filepath.Join(goldenCases, c.File))
		if err != nil {
			t.Fatal(err)
		}
		return ix
	}
	t.Fatalf("no golden case %q", name)
	return nil
}

func goldenBytes(t *testing.T, ix *checkpoint.Index, name string) []byte {
	t.Helper()
	v, ok := ix.Tensors[name]
	if !ok {
		t.Fatalf("no golden tensor %q", name)
	}
	b, err := v.Raw()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func goldenFloats(t *testing.T, ix *checkpoint.Index, name string) []float32 {
	t.Helper()
	v, ok := ix.Tensors[name]
	if !ok {
		t.Fatalf("no golden tensor %q", name)
	}
	f, err := v.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// wantFault checks an error's code and field.
func wantFault(t *testing.T, err error, code, field string) {
	t.Helper()
	if f := asFault(t, err); f.Code != code || f.Field != field {
		t.Fatalf("error is %v, want the fault %q of %q", err, code, field)
	}
}

func asFault(t *testing.T, err error) *fault.Error {
	t.Helper()
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("error is %T %v, want a fault", err, err)
	}
	return f
}

// write makes a file in a folder of the test's own.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
