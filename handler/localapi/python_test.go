//go:build long

package localapi_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck51_PythonSDK: the unmodified Python package, in the version that the example pins.
func TestCheck51_PythonSDK(t *testing.T) {
	needs(t, "python3")
	venv := filepath.Join(t.TempDir(), "venv")
	if out, err := exec.Command("python3", "-m", "venv", venv).CombinedOutput(); err != nil {
		t.Skipf("python3 -m venv does not work here: %v\n%s", err, out)
	}
	python := filepath.Join(venv, "bin/python")
	if out, err := exec.Command(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "../../examples/python/requirements.txt").CombinedOutput(); err != nil {
		t.Skipf("pip cannot install RunPod's SDK here: %v\n%s", err, out)
	}
	w := startWorker(t)
	dir := copied(t)
	if out := w.client(t, dir, python, "examples/python/run.py", "tia"); !strings.Contains(out, "IN_PROGRESS") {
		t.Errorf("%s", out)
	}
	checkVideo(t, dir)
	script, err := os.ReadFile("testdata/sdk.py")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "sdk.py"), script, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out := w.client(t, dir, python, "sdk.py", brief, long, wrong); !strings.HasSuffix(out, "all is well\n") {
		t.Errorf("%s", out)
	}
}
