package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLibrary starts the worker with something else in ONNX Runtime's place. It fails the job that it has taken, with the
// reason, and ends: no later job could be done.
func TestLibrary(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(t *testing.T, path string)
		says string
	}{
		{"missing", func(*testing.T, string) {}, "no such file"},
		{"a folder", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o755)) }, "a folder; name the file in it"},
		{"a text", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte("GROUP ( libonnxruntime )"), 0o644))
		}, ""},
		{"cut short", func(t *testing.T, path string) {
			data, err := os.ReadFile(library())
			must(t, err)
			must(t, os.WriteFile(path, data[:len(data)/3], 0o644))
		}, "cut short"},
		{"another library", func(t *testing.T, path string) {
			compile(t, path, "int nothing(void) { return 0; }")
		}, "it has no OrtGetApiBase"},
		{"too old", func(t *testing.T, path string) { // one that knows no API as new as is asked for
			compile(t, path, `
				static const void *api(unsigned version) { return version > 20 ? 0 : (const void *)1; }
				static const char *name(void) { return "1.20.0"; }
				static const struct { const void *(*api)(unsigned); const char *(*name)(void); } base = {api, name};
				const void *OrtGetApiBase(void) { return &base; }`)
		}, "its C API is older than version 24"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			path := w.path("libonnxruntime.so.1")
			row.make(t, path)
			w.env = append(w.env, "ONNXRUNTIME_LIB="+path)
			w.give("broken", "")
			w.start()
			w.prestartFails("broken", row.says, "make setup")
		})
	}
}

// prestartFails checks that the job got the reason, that the worker ended with 1, and that nothing is left.
func (w *world) prestartFails(id string, says ...string) {
	w.t.Helper()
	a := w.await(id)
	for _, text := range append(says, "prestart_failed") {
		if !strings.Contains(a.Error, text) {
			w.t.Errorf("the answer does not say %q: %s", text, a.Error)
		}
	}
	if code := w.exit(); code != 1 || !strings.Contains(w.logs.String(), "the worker cannot be started") {
		w.t.Errorf("exit code %d", code)
	}
	w.clean()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// compile makes a shared library of a C text.
func compile(t *testing.T, path, text string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "library.c")
	must(t, os.WriteFile(source, []byte(text), 0o600))
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", path, source).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
}
