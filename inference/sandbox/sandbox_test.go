package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// misbehaving is a program of this test binary that does what its first argument says.
var misbehaving = Program("misbehaving", func(args []string) int {
	if err := misbehave(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
})

func misbehave(args []string) error {
	arg := func(i int) string { return args[i] }
	switch arg(0) {
	case "nothing":
	case "say": // where it is, and all that it was given
		wd, err := os.Getwd()
		fmt.Println(wd)
		fmt.Println(strings.Join(os.Environ(), "\n"))
		return err
	case "memory":
		type chain struct {
			next  *chain
			bytes [16 << 20]byte
		}
		var kept *chain
		for {
			kept = &chain{next: kept}
			for i := 0; i < len(kept.bytes); i += 4096 {
				kept.bytes[i] = 1
			}
		}
	case "shared memory":
		for {
			b, err := syscall.Mmap(-1, 0, 1<<30, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
			if err != nil {
				return err
			}
			_ = b
		}
	case "spin":
		for n := uint64(1); n != 0; {
			n += 2
		}
	case "sleep":
		fmt.Println("asleep")
		time.Sleep(time.Hour)
	case "fill":
		f, err := os.Create("big")
		for err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
		return err
	case "connect":
		_, err := net.Dial(arg(1), arg(2))
		return err
	case "write":
		return os.WriteFile(arg(1), []byte("was here"), 0o600)
	case "read":
		_, err := os.ReadFile(arg(1))
		return err
	case "remove":
		return os.Remove(arg(1))
	case "fork":
		return exec.Command("/bin/true").Run()
	case "kill":
		pid, err := strconv.Atoi(arg(1))
		if err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	case "leave the group":
		_, err := syscall.Setsid()
		return err
	case "many files":
		for {
			if _, err := os.Open("/dev/null"); err != nil {
				return err
			}
		}
	case "litter":
		return errors.Join(os.MkdirAll("a/b", 0o700), os.WriteFile("a/b/c", nil, 0o400), os.Chmod("a/b", 0), os.Chmod("a", 0))
	}
	return nil
}

// policy is enough for programs that behave.
func policy(t testing.TB) Policy {
	return Policy{Folder: t.TempDir(), Memory: 512 << 20, CPU: 10 * time.Second, FileSize: 1 << 20}
}

// run runs the program to its end and checks that no folder is left.
func run(t *testing.T, p Policy, args ...string) (string, *Cmd, error) {
	t.Helper()
	c := misbehaving.Command(t.Context(), p, args...)
	var out strings.Builder
	c.Stdout = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(p.Folder); err != nil || len(entries) != 1 {
		t.Errorf("while it runs its folder's parent holds %v, %v", entries, err)
	}
	err := c.Wait()
	empty(t, p.Folder)
	return out.String(), c, err
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestEnvironmentAndFolder(t *testing.T) {
	t.Setenv("BUCKET_SECRET_ACCESS_KEY", "hush")
	t.Setenv("RUNPOD_AI_API_KEY", "hush")
	t.Setenv("HF_TOKEN", "hush")
	p := policy(t)
	out, _, err := run(t, p, "say")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if filepath.Dir(lines[0]) != p.Folder {
		t.Errorf("it runs in %s, not in a folder of its own", lines[0])
	}
	p.Folder = "/no such folder"
	c := misbehaving.Command(t.Context(), p, "write", "something")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil && len(Gaps()) == 0 {
		t.Error("without a folder of its own it writes elsewhere")
	}
	known := map[string]bool{"PATH": true, "LD_LIBRARY_PATH": true, "LC_ALL": true, "HOME": true, "TMPDIR": true, "GOMAXPROCS": true}
	for _, line := range lines[1:] {
		if name, _, _ := strings.Cut(line, "="); !known[name] {
			t.Errorf("it sees %s", line)
		}
	}
	if strings.Contains(out, "hush") {
		t.Error("it sees a secret")
	}
}

// Every limit is hit once, and named.
func TestLimits(t *testing.T) {
	if len(Gaps()) > 0 {
		t.Skip("this kernel lacks: ", Gaps())
	}
	if raceDetector {
		t.Skip("the race detector's tables exceed any limit of memory")
	}
	p := policy(t)
	p.Memory, p.Patience = 300<<20, time.Minute
	brief, impatient := p, p
	brief.CPU = time.Second
	impatient.Patience = 300 * time.Millisecond
	for _, c := range []struct {
		does  string
		p     Policy
		limit Limit
		bound string
	}{
		{"memory", p, Memory, "300 MiB"}, {"shared memory", p, Memory, "300 MiB"}, {"spin", brief, CPU, "1 s"}, {"fill", p, FileSize, "1 MiB"}, {"sleep", impatient, Patience, "300ms"},
	} {
		_, cmd, err := run(t, c.p, c.does)
		exceeded, ok := errors.AsType[*Exceeded](err)
		if !ok || exceeded.Limit != c.limit || exceeded.Bound != c.bound {
			t.Errorf("%s: %v", c.does, err)
		}
		if cmd.Murdered() || cmd.Killed() {
			t.Errorf("%s: it is said to have been killed by others", c.does)
		}
	}
	if _, _, err := run(t, policy(t), "many files"); err == nil || !strings.Contains(err.Error(), "too many open files") {
		t.Errorf("open files: %v", err)
	}
}

func TestRefused(t *testing.T) {
	if len(Gaps()) > 0 {
		t.Skip("this kernel lacks: ", Gaps())
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close() //nolint:errcheck // it has served
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			t.Error("a connection was made")
			conn.Close() //nolint:errcheck // the test has failed
		}
	}()
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := [][]string{
		{"connect", "tcp", server.Addr().String()}, {"connect", "udp", "127.0.0.1:9"}, {"connect", "unix", "/var/run/docker.sock"},
		{"write", other}, {"write", filepath.Join(filepath.Dir(other), "new")}, {"write", "/dev/shm/humo"}, {"read", other}, {"read", "/etc/passwd"},
		{"read", fmt.Sprintf("/proc/%d/environ", os.Getpid())}, {"read", "/proc/1/cmdline"}, {"remove", other}, {"fork"}, {"kill", strconv.Itoa(os.Getpid())}, {"leave the group"},
	}
	for _, args := range tests {
		if out, _, err := run(t, policy(t), args...); err == nil {
			t.Errorf("%q succeeds: %s", args, out)
		} else if !strings.Contains(err.Error(), "not permitted") && !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%q fails for another reason: %v", args, err)
		}
	}
	if data, err := os.ReadFile(other); err != nil || string(data) != "secret" {
		t.Errorf("the other file holds %q, %v", data, err)
	}
}

func TestAllowed(t *testing.T) {
	p := policy(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for _, name := range []string{in, out} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.Read, p.Write = []string{in}, []string{out}
	for _, args := range [][]string{{"read", in}, {"read", out}, {"write", out}, {"write", "own"}, {"litter"}} {
		if _, _, err := run(t, p, args...); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	if data, err := os.ReadFile(out); err != nil || string(data) != "was here" {
		t.Errorf("the file holds %q, %v", data, err)
	}
	if len(Gaps()) == 0 {
		if _, _, err := run(t, p, "write", in); err == nil {
			t.Error("a file to read was written")
		}
	}
}

// However a run ends, its process and its folder are gone.
func TestEnds(t *testing.T) {
	defer goleak.VerifyNone(t)
	start := func(ctx context.Context, p Policy) (*Cmd, int) {
		c := misbehaving.Command(ctx, p, "sleep")
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "asleep\n" {
			t.Fatal(line, err)
		}
		return c, c.Process.Pid
	}
	gone := func(how string, pid int, p Policy) {
		t.Helper()
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: the process is there: %v", how, err)
		}
		empty(t, p.Folder)
	}
	p := policy(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, pid := start(ctx, p)
	cancel()
	if err := c.Wait(); err == nil {
		t.Error("a cancelled program ends well")
	}
	gone("cancel", pid, p)

	c, pid = start(t.Context(), p)
	c.Close()
	c.Close()
	gone("close", pid, p)

	func() {
		defer func() { recover() }() //nolint:errcheck // as asked
		c, pid = start(t.Context(), p)
		defer c.Close()
		panic("as asked")
	}()
	gone("panic", pid, p)

	c, pid = start(t.Context(), p)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !c.Murdered() {
		t.Errorf("killed by somebody: %v", err)
	}
	gone("killed", pid, p)

	for _, program := range []string{"/no/such/program", "/dev/null", t.TempDir()} {
		c := Command(t.Context(), p, program)
		if err := c.Start(); err == nil {
			t.Errorf("%s starts", program)
		}
		empty(t, p.Folder)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := Command(ended, p, "/bin/true").Start(); !errors.Is(err, context.Canceled) {
		t.Errorf("started after its context's end: %v", err)
	}
	empty(t, p.Folder)
	Command(t.Context(), p, "/bin/true").Close() // never started
}

// What a program leaves in its process group dies with it, where no filter keeps it from starting anything.
func TestLeftoversOfTheGroupDie(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "sleep 600 & echo $!")
	cmd.SysProcAttr = processAttributes()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	awaitEnd(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the grandchild lives")
		}
	}
}

// alive reports whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// The worker dies by SIGKILL: so does the program.
func TestDiesWithTheWorker(t *testing.T) {
	const parent = "HUMO_SANDBOX_TEST_PARENT"
	if dir := os.Getenv(parent); dir != "" {
		c := misbehaving.Command(t.Context(), Policy{Folder: dir, Memory: 512 << 20, CPU: time.Minute, FileSize: 1 << 20}, "sleep")
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(out, make([]byte, 6), 6); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(c.Process.Pid)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "pid"), filepath.Join(dir, "ready")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
	}
	dir := t.TempDir()
	worker := exec.Command(os.Args[0], "-test.run=^TestDiesWithTheWorker$")
	worker.Env = append(os.Environ(), parent+"="+dir)
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer worker.Process.Kill() //nolint:errcheck // it was killed, unless the test has failed
	var text []byte
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var err error
		if text, err = os.ReadFile(filepath.Join(dir, "ready")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the worker does not start its program")
		}
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil || !alive(pid) {
		t.Fatalf("%q, %v", text, err)
	}
	if err := worker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	worker.Wait() //nolint:errcheck // it was killed
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the program outlives the worker")
		}
	}
}
