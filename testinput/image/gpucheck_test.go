package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standIn puts a script under a name into a folder.
func standIn(t *testing.T, dir, name, script string) {
	t.Helper()
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// gpuCheck runs scripts/gpu-check in a tree that has a stand-in for the worker, with a PATH that begins with bin.
func gpuCheck(t *testing.T, bin, worker string) (out string, code int) {
	t.Helper()
	tree := t.TempDir()
	if err := os.CopyFS(filepath.Join(tree, "scripts"), os.DirFS(top+"/scripts")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "Dockerfile"), []byte(read(t, "Dockerfile")), 0o644); err != nil {
		t.Fatal(err)
	}
	standIn(t, filepath.Join(tree, "bin"), program, worker)
	cmd := exec.Command("bash", filepath.Join(tree, "scripts/gpu-check"), filepath.Join(tree, "logs"))
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "ONNXRUNTIME_LIB=/lib/ort.so", "HUMO_WEIGHTS=")
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func TestGPUCheckWithoutACard(t *testing.T) {
	bin := t.TempDir()
	standIn(t, bin, "nvidia-smi", `echo "No devices were found"; exit 6`)
	out, code := gpuCheck(t, bin, `echo "must not run"; touch ran`)
	said := strings.Contains(out, "No devices were found") && strings.Contains(out, "NOTHING WAS CHECKED")
	if code != 2 || !said || strings.Contains(out, "must not run") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestGPUCheckTable(t *testing.T) {
	bin := t.TempDir()
	standIn(t, bin, "nvidia-smi", `echo "NVIDIA Card, 81559 MiB, 580.65.06, 9.0"`)
	const worker = `case "$*" in
version) echo "humo-worker 1";;
*bf16*) echo "29 of 30 ok"; exit 1;;
parity*) echo "30 of 30 ok";;
bench*) echo "0.76 s a pass, PyTorch 0.80";;
doctor) echo "A job can run.";;
esac`
	out, code := gpuCheck(t, bin, worker)
	if code != 1 {
		t.Errorf("exit code %d with a failed row, want 1", code)
	}
	for _, want := range []string{
		"card: NVIDIA Card, 81559 MiB, 580.65.06, 9.0\n", "parity bf16     FAILED (1)", "29 of 30 ok", "1 of 5 checks failed",
		"A job can run.", "0.76 s a pass, PyTorch 0.80", "parity --dtype fp16 testdata/golden/dev", "bench gpu --vs-torch",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	if out, code := gpuCheck(t, bin, `echo fine`); code != 0 || strings.Count(out, "  ok  ") != 5 {
		t.Errorf("exit code %d though all went well:\n%s", code, out)
	}
}
