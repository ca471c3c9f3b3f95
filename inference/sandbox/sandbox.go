// Package sandbox runs programs that read foreign bytes, so that a hole in one of them is worth little: without a network,
// without the worker's environment, without a way to start other processes, with a bound on memory, CPU time and file size,
// and with no file to see but the system's libraries, what it is told to read, and a folder of its own, which is removed.
//
// The worker starts itself again as a launcher (launch.go), which lays the confinement on itself and then becomes the
// program. Nothing of it needs a privilege: it holds for root and for any other user, in a container without capabilities.
// What a kernel cannot do (Landlock, seccomp) is left out there, and Gaps says so.
//
// It must not know what the programs do.
package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// Policy says what a program may do.
type Policy struct {
	Read  []string // absolute names of files and folders that it may read, beside the system's
	Write []string // absolute names of files, which exist, that it may read and write

	// Folder is where the program's own folder is made, in which it runs. Where that is not possible, and with "", it has
	// none and runs in /, where it can write nothing.
	Folder string

	Memory   int64         // bytes that it may allocate; at least 256 MiB, because the launcher itself needs some
	CPU      time.Duration // of all its threads together; counted in whole seconds
	FileSize int64         // bytes of the largest file that it may write
	Patience time.Duration // it is killed when Alive has not been called for so long; 0: never
}

// files is how many files a program may hold open.
const files = 128

// Cmd is one run of a program. Its life is Start, Wait, Close; Close alone is enough to end it at any point.
type Cmd struct {
	*exec.Cmd // with Path and Args of the launcher; only the streams and ExtraFiles are for the caller

	name    string // for people
	program string
	args    []string // the first one is the program's name
	policy  Policy
	own     string // its folder; "": none

	said    words
	context context.Context // of this run
	cancel  context.CancelCauseFunc
	silence *time.Timer   // ends the run; nil without a patience
	ended   chan struct{} // closed when the program has ended and its process group has been killed
	waited  bool
}

// Command makes ready to run a program, given by its absolute path. What it writes to standard error is kept for the errors
// of Wait; Stdin, Stdout and ExtraFiles are as in exec.Cmd. It gets PATH and LD_LIBRARY_PATH of the environment.
func Command(ctx context.Context, p Policy, program string, args ...string) *Cmd {
	return command(ctx, p, program, append([]string{program}, args...))
}

func command(parent context.Context, p Policy, program string, args []string) *Cmd {
	ctx, cancel := context.WithCancelCause(parent)
	c := &Cmd{Cmd: exec.CommandContext(ctx, launcherPath()), name: filepath.Base(args[0]), program: program,
		args: args, policy: p, context: ctx, cancel: cancel, ended: make(chan struct{})}
	c.Stderr = &c.said
	c.SysProcAttr = processAttributes()
	c.Cancel = func() error {
		if err := killGroup(c.Process.Pid); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	c.WaitDelay = time.Second // for pipes that something else still holds open
	return c
}

// Start starts the program and returns when it runs, confined. After an error nothing is left.
func (c *Cmd) Start() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start %s: %w", c.name, err)
			c.Close()
		}
	}()
	c.own = makeFolder(c.policy.Folder)
	c.Dir = cmp.Or(c.own, "/")
	report, reported, err := os.Pipe()
	if err != nil {
		return err
	}
	defer report.Close() //nolint:errcheck // only read from
	const firstExtra = 3
	launch, err := json.Marshal(confinement{Policy: c.policy, Own: c.own, Program: c.program, Report: firstExtra + len(c.ExtraFiles)})
	if err != nil {
		return errors.Join(err, reported.Close())
	}
	c.ExtraFiles = append(slices.Clip(c.ExtraFiles), reported)
	c.Args = append([]string{launcherName, string(launch)}, c.args...)
	c.Env = environment(c.Dir)
	started := make(chan error)
	go c.watch(started)
	err = <-started
	reported.Close() //nolint:errcheck // ours is a copy of the child's
	if err != nil {
		return err
	}
	c.Alive(c.policy.Patience)
	// The pipe closes when the launcher becomes the program.
	said, err := io.ReadAll(report)
	if err == nil && len(said) > 0 {
		err = errors.New(string(said))
	}
	return err
}

// Alive says that the program works, or is not to blame for the silence: it has this long until the next call, for ever
// with 0. Not for use beside Wait and Close.
func (c *Cmd) Alive(patience time.Duration) {
	if c.silence != nil {
		c.silence.Stop()
		c.silence = nil
	}
	if patience > 0 {
		c.silence = time.AfterFunc(patience, func() { c.cancel(&Exceeded{Patience, patience.String()}) })
	}
}

// watch starts the program and stays on one thread until it has ended: the kernel kills the program when that thread ends,
// which must not happen before the worker does.
func (c *Cmd) watch(started chan<- error) {
	defer close(c.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.Cmd.Start()
	started <- err
	if err != nil {
		return
	}
	awaitEnd(c.Process.Pid)
}

// Wait waits for the end of the program and of all that it started, and removes its folder. Its error holds the exit status
// and the program's last words, and wraps an Exceeded if a limit of the policy ended it.
func (c *Cmd) Wait() error {
	<-c.ended
	err := c.Cmd.Wait()
	c.waited = true
	limit := c.exceeded(err)
	c.Close()
	if err == nil {
		return nil
	}
	if said := c.said.String(); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	if limit != nil {
		err = fmt.Errorf("%w: %w", limit, err)
	}
	return fmt.Errorf("%s: %w", c.name, err)
}

// Close ends the program if it still runs, and removes its folder. It may be called more than once.
func (c *Cmd) Close() {
	c.Alive(0)
	c.cancel(nil)
	if c.Process != nil && !c.waited {
		c.Cancel() //nolint:errcheck // it has ended by itself
		<-c.ended
		c.Cmd.Wait() //nolint:errcheck // it was killed
		c.waited = true
	}
	if c.own != "" {
		removeFolder(c.own)
		c.own = ""
	}
}

// Said is the end of what the program wrote to standard error, in one line of printable characters.
func (c *Cmd) Said() string { return c.said.String() }

// Killed reports whether the program was ended by a signal, which none of our limits sent: by its own fault, or from outside.
func (c *Cmd) Killed() bool { return c.signal() != 0 }

// Murdered reports whether somebody else killed the program: the kernel, because memory ran out, most likely.
func (c *Cmd) Murdered() bool { return c.signal() == syscall.SIGKILL }

// signal is the one that ended the program; 0: it ended by itself, or one of our limits did it.
func (c *Cmd) signal() syscall.Signal {
	if c.ProcessState == nil || c.exceeded(errors.New("killed")) != nil {
		return 0
	}
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal()
	}
	return 0
}

// environment keeps the worker's keys and tokens from the program.
func environment(folder string) []string {
	env := []string{"LC_ALL=C", "HOME=" + folder, "TMPDIR=" + folder, "GOMAXPROCS=2"} // the last is for programs of our own
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// makeFolder returns "" if it cannot.
func makeFolder(parent string) string {
	if parent == "" {
		return ""
	}
	dir, err := os.MkdirTemp(parent, ".sandbox-*")
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return ""
	}
	return dir
}

// removeFolder also removes folders that the program has closed to itself.
func removeFolder(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	filepath.WalkDir(dir, func(path string, entry os.DirEntry, _ error) error { //nolint:errcheck // RemoveAll is what counts
		if entry != nil && entry.IsDir() {
			os.Chmod(path, 0o700) //nolint:errcheck // as above
		}
		return nil
	})
	os.RemoveAll(dir) //nolint:errcheck // the next start of the worker tries again
}
