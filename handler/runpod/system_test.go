package runpod_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

func contains(err error, text string) bool { return strings.Contains(err.Error(), text) }

// TestSystemChecks runs RunPod's own checks against a driver that is a script.
func TestSystemChecks(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const good = `case "$1" in --list-gpus) echo "GPU 0: NVIDIA L40S";; *) echo "| Driver Version: 550  CUDA Version: 12.4 |";; esac`
	for _, c := range []struct {
		name, driver, test string
		env                []string
		check, want        string // the check that fails, and with what; "": none
	}{
		{"healthy", good, "exit 0", nil, "", ""},
		{"no GPU listed", `echo "No devices"`, "", nil, "gpu", "the driver lists none"},
		{"driver broken", `exit 9`, "", nil, "gpu", "cannot list the GPUs"},
		{"CUDA too old", good, "", []string{"RUNPOD_MIN_CUDA_VERSION=12.8"}, "cuda_version", "supports CUDA 12.4, and 12.8 is needed"},
		{"test program fails", good, `for i in 1 2 3 4; do echo "line $i"; done; exit 1`, []string{"RUNPOD_GPU_MAX_ERROR_MESSAGES=2"}, "gpu_test", "line 1; line 2"},
		{"GPU checks skipped", `exit 9`, "", []string{"RUNPOD_SKIP_GPU_CHECK=true"}, "", ""},
		{"no memory", good, "", []string{"RUNPOD_MIN_MEMORY_GB=100000"}, "memory", "RUNPOD_MIN_MEMORY_GB"},
		{"no disk", good, "", []string{"RUNPOD_MIN_DISK_PERCENT=101"}, "disk", "RUNPOD_MIN_DISK_PERCENT"},
		{"system checks skipped", good, "", []string{"RUNPOD_MIN_DISK_PERCENT=101", "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true"}, "", ""},
	} {
		script("nvidia-smi", c.driver)
		env := append([]string{"RUNPOD_GPU_COUNT=1", "RUNPOD_MIN_MEMORY_GB=0", "RUNPOD_MIN_DISK_PERCENT=0", "RUNPOD_NETWORK_CHECK_TIMEOUT=0.01"}, c.env...)
		if c.test != "" {
			env = append(env, "RUNPOD_BINARY_GPU_TEST_PATH="+script("gpu-test", c.test))
		}
		config, err := runpod.ReadConfig(env)
		if err != nil {
			t.Fatal(err)
		}
		failed := ""
		for _, check := range runpod.SystemChecks(config, zerolog.Nop()) {
			if err = check.Run(t.Context()); err != nil {
				failed = check.Name
				break
			}
		}
		if failed != c.check || err != nil && !contains(err, c.want) {
			t.Errorf("%s: the check %q fails with %v, want %q with %q", c.name, failed, err, c.check, c.want)
		}
	}
}
