//go:build !linux

package sandbox

import (
	"runtime"
	"syscall"
)

// Elsewhere, for development, programs run with a clean environment and a folder and a process group of their own, and
// that is all.

func (c *confinement) confine() error { return nil }

// Gaps are the confinements that this system cannot lay on a program.
func Gaps() []string {
	return []string{"On " + runtime.GOOS + " ffmpeg and the decoder of pictures run unconfined; use Linux for jobs of strangers."}
}

func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func killGroup(leader int) error { return syscall.Kill(-leader, syscall.SIGKILL) }

func awaitEnd(int) {}

func memoryUnbounded() bool { return true }
