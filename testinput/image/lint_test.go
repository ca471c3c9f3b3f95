package image_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// hadolint and shellcheck are programs that a machine has or has not; the workflow runs both.
func TestLint(t *testing.T) {
	for _, c := range [][]string{
		{"hadolint", "Dockerfile"},
		{"shellcheck", "scripts/image-check.sh", "scripts/onnxruntime-release.sh", "scripts/gpu-check", "scripts/fuzz"},
	} {
		t.Run(c[0], func(t *testing.T) {
			if _, err := exec.LookPath(c[0]); err != nil {
				t.Skipf("%s is not installed here; .github/workflows/image.yml runs it", c[0])
			}
			cmd := exec.Command(c[0], c[1:]...)
			cmd.Dir = filepath.Clean(top)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %v\n%s", c, err, out)
			}
		})
	}
}
