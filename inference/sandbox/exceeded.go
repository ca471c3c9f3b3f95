package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Limit is one of a policy's bounds.
type Limit string

// The bounds that end a program.
const (
	Memory   Limit = "memory"
	CPU      Limit = "CPU time"
	FileSize Limit = "file size"
	Patience Limit = "time without a sign of life"
)

// Exceeded is the error of a program that hit a bound of its policy.
type Exceeded struct {
	Limit Limit
	Bound string // for people: "512 MiB", "60 s", "1m0s"
}

func (e *Exceeded) Error() string {
	return fmt.Sprintf("the limit of %s of %s was exceeded", e.Bound, e.Limit)
}

// symptoms are what programs say when an allocation fails (ffmpeg and the C library, Go, C++), and when a file is full.
var symptoms = map[Limit][]string{
	Memory:   {"Cannot allocate memory", "out of memory", "cannot allocate memory", "std::bad_alloc", "Out of memory", "memory exhausted"},
	FileSize: {"File too large", "file too large"},
}

// exceeded tells which bound was hit by a program that ended with err; nil if none.
func (c *Cmd) exceeded(err error) *Exceeded {
	if err == nil || c.ProcessState == nil {
		return nil
	}
	p, said := c.policy, c.said.String()
	used := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	var signal syscall.Signal
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		signal = status.Signal()
	}
	has := func(l Limit) bool {
		for _, s := range symptoms[l] {
			if strings.Contains(said, s) {
				return true
			}
		}
		return false
	}
	if silent, ok := errors.AsType[*Exceeded](context.Cause(c.context)); ok {
		return silent
	}
	switch {
	case p.CPU > 0 && (used >= p.CPU || signal == syscall.SIGKILL && used >= p.CPU*3/4): // the kernel's two clocks differ a little
		return &Exceeded{CPU, fmt.Sprintf("%.0f s", p.CPU.Seconds())}
	case signal == syscall.SIGXFSZ, has(FileSize):
		return &Exceeded{FileSize, mebibytes(p.FileSize)}
	case has(Memory):
		return &Exceeded{Memory, mebibytes(p.Memory)}
	}
	return nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
