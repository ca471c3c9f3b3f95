package sandbox

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// slack is by how much a program's address space may exceed its memory. Threads reserve far more than they use, so the
// bound on memory is RLIMIT_DATA, which counts what can be written to; this one is for shared mappings, which it leaves out.
const slack = 16 << 30

// limit sets the kernel's bounds. None can be raised again. The limits of processes are left alone: they are the user's,
// not the program's.
func (c *confinement) limit() error {
	memory := uint64(max(c.Memory, 256<<20))
	seconds := uint64(max(c.CPU/time.Second, 1))
	for _, l := range []struct {
		name       string
		resource   int
		soft, hard uint64
	}{
		{"open files", unix.RLIMIT_NOFILE, files, files},
		{"core dumps", unix.RLIMIT_CORE, 0, 0},
		{"file size", unix.RLIMIT_FSIZE, uint64(max(c.FileSize, 0)), uint64(max(c.FileSize, 0))},
		{"CPU time", unix.RLIMIT_CPU, seconds, seconds}, // both at once is SIGKILL; ffmpeg and Go's runtime catch SIGXCPU, and may hang on it
		{"address space", unix.RLIMIT_AS, memory + slack, memory + slack},
		{"memory", unix.RLIMIT_DATA, memory, memory},
	} {
		if raceDetector && (l.resource == unix.RLIMIT_AS || l.resource == unix.RLIMIT_DATA) {
			continue // its tables alone are larger
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
		now.Cur, now.Max = min(l.soft, now.Max), min(l.hard, now.Max)
		if err := unix.Setrlimit(l.resource, &now); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
	}
	return nil
}

// processAttributes: a process group of its own, and the end with the worker, however that ends.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func killGroup(leader int) error { return unix.Kill(-leader, unix.SIGKILL) }

// awaitEnd returns when a process has ended, and kills what it left behind of its group, whose number is its own until
// somebody waits for it.
func awaitEnd(leader int) {
	for errors.Is(unix.Waitid(unix.P_PID, leader, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	killGroup(leader) //nolint:errcheck // there is nobody, usually
}

// memoryUnbounded reports whether this process may map more than any policy of ours allows.
func memoryUnbounded() bool {
	const tooMuch = 1 << 40
	b, err := unix.Mmap(-1, 0, tooMuch, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return false
	}
	unix.Munmap(b) //nolint:errcheck // the process ends
	return true
}
