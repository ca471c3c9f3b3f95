//go:build linux

package sandbox

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// olderKernel examines the sandbox as if the kernel, or the container around it, refused a system call.
var olderKernel = Program("older kernel", func(args []string) int {
	runtime.LockOSThread()
	var f filter
	f.load(callNumber)
	f.when(unix.BPF_JEQ, map[string]uint32{"landlock": unix.SYS_LANDLOCK_CREATE_RULESET, "seccomp": unix.SYS_SECCOMP}[args[0]], 1)
	f.answer(refuse)
	f.answer(allowed)
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		panic(errno)
	}
	found, err := Examine(context.Background())
	if err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(examined{found, Gaps()}); err != nil {
		panic(err)
	}
	return 0
})

type examined struct {
	Found Findings
	Gaps  []string
}

// TestOlderKernelsTell: what can be confined is, and what cannot is told.
func TestOlderKernelsTell(t *testing.T) {
	if len(Gaps()) > 0 {
		t.Skip("this kernel lacks: ", Gaps())
	}
	for call, want := range map[string]struct {
		found Findings
		gap   string
	}{
		"landlock": {Findings{ReadFile: true, WriteFile: true}, "Landlock"},
		"seccomp":  {Findings{Processes: true}, "seccomp"},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{string(olderKernel), call}
		out, err := cmd.CombinedOutput()
		var got examined
		if err != nil || json.Unmarshal(out, &got) != nil {
			t.Errorf("%s: %v, %s", call, err, out)
			continue
		}
		if call == "seccomp" {
			got.Found.Network = false // Landlock's part of it: older versions know TCP only, and not the multipath kind that Go makes
		}
		if got.Found != want.found || len(got.Gaps) != 1 || !strings.Contains(got.Gaps[0], want.gap) {
			t.Errorf("without %s: %+v", call, got)
		}
	}
}

// TestAsAnotherUser runs the other tests as a user without a name, a home and any right.
func TestAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the tests do not run as root: they have run as another user already")
	}
	const user = 12345
	dir := t.TempDir()
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	copied, tmp := filepath.Join(dir, "test"), filepath.Join(dir, "tmp")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(tmp, user, user); err != nil {
		t.Fatal(err)
	}
	for at := dir; at != "/"; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.Mode().Perm()&1 == 0 {
			if err := os.Chmod(at, info.Mode().Perm()|0o011); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(copied, "-test.v", "-test.run=^(TestEnvironmentAndFolder|TestLimits|TestRefused|TestAllowed|TestEnds|TestDiesWithTheWorker|TestOlderKernelsTell)$")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") != 7 {
		t.Errorf("%v:\n%s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, ".sandbox-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestRootHasNoRights: the program of a worker that runs as root keeps one capability.
func TestRootHasNoRights(t *testing.T) {
	p := policy(t)
	p.Read = []string{"/proc"}
	c := Command(t.Context(), p, "/bin/cat", "/proc/self/status")
	var out strings.Builder
	c.Stdout = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NoNewPrivs:\t1\n", "CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if !strings.Contains(out.String(), "CapPrm:\t0000000000000000\n") && !strings.Contains(out.String(), "CapPrm:\t0000000000000002\n") {
		t.Errorf("too many capabilities:\n%s", &out)
	}
}

// BenchmarkStart compares a program's run with and without the sandbox.
func BenchmarkStart(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command("/bin/true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	p := policy(b)
	b.Run("confined", func(b *testing.B) {
		for b.Loop() {
			c := Command(b.Context(), p, "/bin/true")
			if err := c.Start(); err != nil {
				b.Fatal(err)
			}
			if err := c.Wait(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("own program", func(b *testing.B) {
		for b.Loop() {
			c := misbehaving.Command(b.Context(), p, "nothing")
			if err := c.Start(); err != nil {
				b.Fatal(err)
			}
			if err := c.Wait(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
