package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confine lays the policy on this thread and process, from which no way leads back.
func (c *confinement) confine() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if err := c.hideFiles(); err != nil {
		return err
	}
	if err := c.limit(); err != nil {
		return err
	}
	return filterCalls()
}

// dropCapabilities leaves root only the right to pass folders of other users, which an input may lie in; what it reaches
// there is Landlock's to say. With no_new_privs the exec gives none back.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	const kept = 1 << unix.CAP_DAC_OVERRIDE
	left := have[0].Permitted & kept
	keep := [2]unix.CapUserData{{Effective: left, Permitted: left}}
	if err := unix.Capset(&header, &keep[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// Gaps are the confinements that this kernel cannot lay on a program, a sentence each; empty on usual ones.
func Gaps() []string {
	var gaps []string
	if landlockABI() < 1 {
		gaps = append(gaps, "The kernel has no Landlock (Linux 5.13): ffmpeg and the decoder of pictures can reach the files that the worker can reach.")
	}
	if !canFilter() {
		gaps = append(gaps, "The kernel has no seccomp filters: ffmpeg and the decoder of pictures can reach the network and start processes.")
	}
	return gaps
}

// canFilter reports whether the kernel takes filters of system calls that answer with an error.
func canFilter() bool {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return auditArch != 0 && errno == 0
}
