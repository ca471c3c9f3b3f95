package faults_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// private gives the worker mounts of its own, which end with it and which nobody else sees. It needs neither root nor
// anything of the machine but user namespaces; a test is skipped where the kernel or the container has none.
func (w *world) private() {
	w.t.Helper()
	if err := namespaces(); err != nil {
		w.t.Skipf("a process here can have no mounts of its own: %v", err)
	}
	w.attr = namespaced()
}

func namespaced() *syscall.SysProcAttr {
	own := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: own(os.Getuid()), GidMappings: own(os.Getgid()),
	}
}

var namespaces = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		return err
	}
	defer os.Remove(dir) //nolint:errcheck // an empty folder
	cmd := exec.Command("sh", "-c", "mount -t tmpfs -o size=64k none \"$0\"", dir)
	cmd.SysProcAttr = namespaced()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
})

// small puts a folder of the worker's on a file system of so many KiB.
func (w *world) small(name string, kib int) {
	w.private()
	w.before += fmt.Sprintf("mount -t tmpfs -o size=%dk none '%s'\n", kib, w.path(name))
}

// readOnly lets the worker read a folder, but not write there. The read-only copy of the mount is made over the folder.
func (w *world) readOnly(dir string) {
	w.private()
	w.before += fmt.Sprintf("mount --bind '%[1]s' '%[1]s'\nmount -o remount,bind,ro '%[1]s'\n", dir)
}

// seen is a folder as the worker sees it, its own mounts included.
func (w *world) seen(name string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", w.cmd.Process.Pid), w.path(name))
}
