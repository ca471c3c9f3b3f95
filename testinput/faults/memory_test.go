package faults_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMemory lets the system refuse the worker more memory while it does a large job. The library's allocations are larger
// than what is left, Go's are not.
func TestMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.works("before")
	limit := unix.Rlimit{Cur: w.addresses() + 48<<20, Max: unix.RLIM_INFINITY}
	must(t, unix.Prlimit(w.cmd.Process.Pid, unix.RLIMIT_AS, &limit, nil))
	w.expect("too large", `"width": 384, "height": 384, "steps": 1`, "out_of_memory")
	w.works("small, within the limit")
	limit.Cur = unix.RLIM_INFINITY
	must(t, unix.Prlimit(w.cmd.Process.Pid, unix.RLIMIT_AS, &limit, nil))
	w.works("after")
	w.end()
}

// addresses is the size of the worker's address space in bytes, which is what the limit is about.
func (w *world) addresses() uint64 {
	w.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	must(w.t, err)
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmSize:"); ok {
			kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			must(w.t, err)
			return kb << 10
		}
	}
	w.t.Fatal("the size of the address space is not told")
	return 0
}
