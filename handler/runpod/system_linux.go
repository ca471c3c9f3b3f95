package runpod

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// freeMemory is the least of what the machine has left and what the container may still take.
func freeMemory() (uint64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(data), "MemAvailable:")
	if !ok {
		return 0, fmt.Errorf("/proc/meminfo has no MemAvailable")
	}
	kb, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		return 0, err
	}
	limit, used := number("/sys/fs/cgroup/memory.max", math.MaxUint64), number("/sys/fs/cgroup/memory.current", 0)
	return min(kb<<10, limit-min(used, limit)), nil
}

// number reads a file with one number; anything else is without.
func number(path string, without uint64) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return without
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return without
	}
	return n
}

// freeDisk is in percent.
func freeDisk(path string) (float64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, err
	}
	if fs.Blocks == 0 {
		return 100, nil
	}
	return 100 * float64(fs.Bavail) / float64(fs.Blocks), nil
}
