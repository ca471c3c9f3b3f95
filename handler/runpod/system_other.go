//go:build !linux

package runpod

import "math"

// RunPod's machines run Linux; elsewhere these checks pass.

func freeMemory() (uint64, error) { return math.MaxUint64, nil }

func freeDisk(string) (float64, error) { return 100, nil }
