// Package memory tells how much memory this process may still take: the machine's, or what its container leaves.
//
// It must not know what the memory is for.
package memory

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// Available is the number of bytes that can be taken before something is killed: the system's own estimate, which counts
// pages of files as free, with swap; at most what the control groups above this process leave of their limits. ok is
// false where the system does not tell.
func Available() (bytes int64, ok bool) { return available(os.DirFS("/")) }

func available(root fs.FS) (int64, bool) {
	info := fields(root, "proc/meminfo")
	const kB = 1024
	free, ok := info["MemAvailable:"]
	if !ok {
		return 0, false
	}
	swap := info["SwapFree:"] * kB
	return min(free*kB, unlimited(root)) + swap, true
}

// unlimited is what the control groups leave; math.MaxInt64 without a limit.
func unlimited(root fs.FS) int64 {
	left := int64(math.MaxInt64)
	// Inside a container the own group is often the root of what is mounted, whatever /proc says: so all levels are tried.
	for at := own(root, "0::"); ; at = path.Dir(at) {
		dir := path.Join("sys/fs/cgroup", at)
		if limit, ok := number(root, path.Join(dir, "memory.max")); ok {
			used, _ := number(root, path.Join(dir, "memory.current"))
			stat := fields(root, path.Join(dir, "memory.stat"))
			left = min(left, limit-(used-dropped(stat["file"]+stat["slab_reclaimable"], stat["shmem"])))
		}
		if at == "/" || at == "." {
			break
		}
	}
	const v1 = "sys/fs/cgroup/memory"
	if limit, ok := number(root, path.Join(v1, "memory.limit_in_bytes")); ok {
		used, _ := number(root, path.Join(v1, "memory.usage_in_bytes"))
		stat := fields(root, path.Join(v1, "memory.stat"))
		left = min(left, limit-(used-dropped(stat["total_cache"], stat["total_shmem"])))
	}
	return max(left, 0)
}

// dropped is what the system gives up before it kills: cached files, but not those that live in memory.
func dropped(cache, inMemory int64) int64 { return max(cache-inMemory, 0) }

// own is the path of this process's group.
func own(root fs.FS, prefix string) string {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return "/"
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			return path.Clean("/" + name)
		}
	}
	return "/"
}

// number reads a file that holds a number; false for "max", the word for none.
func number(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// fields reads a file of lines "name number …".
func fields(root fs.FS, name string) map[string]int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return nil
	}
	found := map[string]int64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			found[words[0]] = n
		}
	}
	return found
}
