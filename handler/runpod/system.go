package runpod

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// SystemChecks are those that RunPod's own worker makes on its own: the GPU where RunPod says that there is one, memory,
// disk and, as a warning only, the network. They belong behind the program's own.
func SystemChecks(c Config, log zerolog.Logger) []Check {
	f := c.Fitness
	var checks []Check
	if c.GPUCount > 0 && !f.SkipGPU {
		checks = append(checks, Check{"gpu", f.checkGPU}, Check{"cuda_version", f.checkCUDA})
		if f.GPUTestPath != "" {
			checks = append(checks, Check{"gpu_test", f.runGPUTest})
		}
	}
	if !f.SkipSystem {
		checks = append(checks, Check{"memory", f.checkMemory}, Check{"disk", f.checkDisk},
			Check{"network", func(ctx context.Context) error { f.warnNetwork(ctx, log); return nil }})
	}
	return checks
}

// checkGPU asks the driver for its GPUs.
func (c FitnessConfig) checkGPU(ctx context.Context) error {
	out, err := command(ctx, 10*time.Second, "nvidia-smi", "--list-gpus")
	if err != nil {
		return fmt.Errorf("nvidia-smi cannot list the GPUs: %w", err)
	}
	if !strings.Contains(out, "GPU ") {
		return fmt.Errorf("RUNPOD_GPU_COUNT says that there is a GPU, but the driver lists none: %.200s", out)
	}
	return nil
}

var cudaVersion = regexp.MustCompile(`CUDA Version: *([0-9.]+)`)

// checkCUDA compares what the driver supports with what is needed.
func (c FitnessConfig) checkCUDA(ctx context.Context) error {
	out, err := command(ctx, 10*time.Second, "nvidia-smi")
	if err != nil {
		return fmt.Errorf("nvidia-smi does not run: %w", err)
	}
	match := cudaVersion.FindStringSubmatch(out)
	if match == nil {
		return nil // it does not say
	}
	have, err := parseVersion(match[1])
	if err != nil {
		return nil //nolint:nilerr // nor does this
	}
	need, err := parseVersion(c.MinCUDA)
	if err != nil {
		return err
	}
	if cmp.Or(cmp.Compare(have[0], need[0]), cmp.Compare(have[1], need[1])) < 0 {
		return fmt.Errorf("the driver supports CUDA %s, and %s is needed (RUNPOD_MIN_CUDA_VERSION); choose a host with a newer driver", match[1], c.MinCUDA)
	}
	return nil
}

// parseVersion reads major.minor; more is ignored.
func parseVersion(s string) (v [2]int, err error) {
	parts := append(strings.Split(s, "."), "0")
	for i := range v {
		if v[i], err = strconv.Atoi(parts[i]); err != nil {
			return v, err
		}
	}
	return v, nil
}

// runGPUTest runs the endpoint's own test program.
func (c FitnessConfig) runGPUTest(ctx context.Context) error {
	out, err := command(ctx, seconds(c.GPUTestTimeout), c.GPUTestPath)
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return fmt.Errorf("%s: %w: %s", c.GPUTestPath, err, strings.Join(lines[:min(len(lines), max(c.GPUMaxErrorLines, 0))], "; "))
}

// warnNetwork does not fail: a worker that reaches RunPod needs no other host.
func (c FitnessConfig) warnNetwork(ctx context.Context, log zerolog.Logger) {
	dialer := net.Dialer{Timeout: seconds(c.NetworkTimeout)}
	connection, err := dialer.DialContext(ctx, "tcp", "8.8.8.8:53")
	if err != nil {
		log.Warn().Err(err).Msg("The internet cannot be reached at 8.8.8.8:53.")
		return
	}
	connection.Close() //nolint:errcheck // it was opened to see whether it can be
}

func (c FitnessConfig) checkMemory(context.Context) error {
	free, err := freeMemory()
	if err != nil {
		return fmt.Errorf("the free memory cannot be told: %w", err)
	}
	if gb := float64(free) / (1 << 30); gb < c.MinMemoryGB {
		return fmt.Errorf("%.2f GB of memory are free, and %.2f are needed (RUNPOD_MIN_MEMORY_GB)", gb, c.MinMemoryGB)
	}
	return nil
}

func (c FitnessConfig) checkDisk(context.Context) error {
	percent, err := freeDisk("/")
	if err != nil {
		return fmt.Errorf("the free disk space cannot be told: %w", err)
	}
	if percent < c.MinDiskPercent {
		return fmt.Errorf("%.1f %% of the disk are free, and %.1f are needed (RUNPOD_MIN_DISK_PERCENT); enlarge the container disk", percent, c.MinDiskPercent)
	}
	return nil
}

// command returns what a program prints on either stream.
func command(ctx context.Context, limit time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
