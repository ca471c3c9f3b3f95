// Package faults_test breaks what the worker stands on, disk, bucket, names, ffmpeg, ONNX Runtime, weights, memory, the
// process and the clock, and looks at what the caller of a job is told, at what the worker does then, and at what is left.
// The worker is the real binary with the demo weights; RunPod's queue and the bucket are the strict ones of the other tests.
package faults_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// program is the worker, demo its weights: made once for all tests.
var program, demo string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the tests have ended
	program, demo = filepath.Join(dir, "humo-worker"), filepath.Join(dir, "weights")
	if err := build(program); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := weights.WriteDemo(demo); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	flag.Set("test.parallel", "6") //nolint:errcheck // these tests wait more than they work; the command line still wins
	return m.Run()
}

// build builds the program as `make build` does, with more options of go build.
func build(to string, options ...string) error {
	args := append(append([]string{"build"}, options...), "-o", to, "github.com/humo-worker/humo-worker")
	var problem bytes.Buffer
	cmd := exec.Command("go", args...)
	cmd.Stderr = &problem
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, problem.Bytes())
	}
	return nil
}

// library is the ONNX Runtime to use, by its path: the workers here have a home folder of their own.
func library() string {
	if lib := os.Getenv("ONNXRUNTIME_LIB"); lib != "" {
		return lib
	}
	return ort.DefaultLibrary()
}
