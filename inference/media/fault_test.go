package media

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

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
