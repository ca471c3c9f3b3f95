// Package testinput_test runs the sample jobs and the worker's other whole ways as scripts, with the real engine on the
// demo weights.
package testinput_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/humo-worker/humo-worker/handler/cli"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"humo-worker": func() { os.Exit(cli.Main("test")) }})
}

func TestScripts(t *testing.T) {
	demo := t.TempDir()
	if err := weights.WriteDemo(demo); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "scripts",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("LIBRARY", library())
			e.Setenv("ONNXRUNTIME_LIB", library())
			e.Setenv("HUMO_TMP", filepath.Join(e.WorkDir, "scratch"))
			e.Setenv("HUMO_WEIGHTS", filepath.Join(e.WorkDir, "weights"))
			// A script may spoil its weights, so each has its own.
			if err := os.CopyFS(filepath.Join(e.WorkDir, "weights"), os.DirFS(demo)); err != nil {
				return err
			}
			for _, name := range []string{"test_input.json", "test_input_tia.json", "test_input_original.json", "test_input_full.json", "voice.wav", "person.png"} {
				data, err := os.ReadFile(name)
				if err == nil {
					err = os.MkdirAll(filepath.Join(e.WorkDir, "testinput"), 0o755)
				}
				if err == nil {
					err = os.WriteFile(filepath.Join(e.WorkDir, "testinput", name), data, 0o644)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"patch": patch, "clean": clean},
	})
}

// library is the ONNX Runtime to use, by its path: scripts have no home folder to find it in.
func library() string {
	if lib := os.Getenv("ONNXRUNTIME_LIB"); lib != "" {
		return lib
	}
	return ort.DefaultLibrary()
}

// patch FILE OLD NEW replaces the first OLD in a file by NEW, of the same length.
func patch(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	at := bytes.Index(data, []byte(args[1]))
	if at < 0 || len(args[1]) != len(args[2]) {
		ts.Fatalf("%s: %q is at %d; the lengths are %d and %d", args[0], args[1], at, len(args[1]), len(args[2]))
	}
	copy(data[at:], args[2])
	ts.Check(os.WriteFile(path, data, 0o644))
}

// clean checks that a run left no temporary file.
func clean(ts *testscript.TestScript, _ bool, _ []string) {
	for _, pattern := range []string{"scratch/*", ".tmp/*", ".tmp/.*", "output/.*", "output/*/*.part*", "output/*/.*"} {
		found, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if len(found) > 0 {
			ts.Fatalf("left behind: %q", found)
		}
	}
}
