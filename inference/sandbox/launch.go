package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// launcherName is what the launcher is called, by which it knows what it is.
const launcherName = "humo-worker sandbox"

// confinement is what the launcher is told.
type confinement struct {
	Policy
	Own     string // the program's own folder; "": none
	Program string // its path
	Report  int    // descriptor of the pipe for what went wrong before the program ran
}

// A process that was started as the launcher becomes its program here, before anything else of the worker exists. It is an
// init function because that holds for every binary that starts programs, tests included, and leaves nobody to forget it.
func init() {
	if len(os.Args) > 2 && os.Args[0] == launcherName {
		launch(os.Args[1], os.Args[2:])
	}
}

func launch(text string, args []string) {
	runtime.LockOSThread() // most of the confinement is the thread's, and goes over to the program that it becomes
	report := os.Stderr
	fail := func(err error) {
		fmt.Fprint(report, err) //nolint:errcheck // nobody else can be told
		os.Exit(126)
	}
	var c confinement
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		fail(err)
	}
	report = os.NewFile(uintptr(c.Report), "report")
	syscall.CloseOnExec(c.Report)
	if err := c.confine(); err != nil {
		fail(fmt.Errorf("cannot be confined: %w", err))
	}
	fail(syscall.Exec(c.Program, args, os.Environ())) // returns only if it failed
}

// Program makes the worker's own binary start as main when it is started under the name that this returns the path of.
// Use it to initialise a variable of a package; the exit status is what main returns.
func Program(name string, main func(args []string) int) OwnProgram {
	p := OwnProgram("humo-worker " + name)
	if os.Args[0] == string(p) {
		os.Exit(main(os.Args[1:]))
	}
	return p
}

// OwnProgram is a part of this binary that runs as a program.
type OwnProgram string

// Command makes ready to run it, as the function Command does other programs.
func (p OwnProgram) Command(ctx context.Context, policy Policy, args ...string) *Cmd {
	return command(ctx, policy, launcherPath(), append([]string{string(p)}, args...))
}

// launcherPath is this binary, whatever became of its file since the start.
func launcherPath() string {
	const running = "/proc/self/exe"
	if _, err := os.Lstat(running); err == nil {
		return running
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0] // Start tells what is wrong with it
	}
	return path
}

// libraries is the folder in which a program that was not installed by the system has its own, usually.
func libraries(program string) string {
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	return filepath.Join(filepath.Dir(program), "..", "lib")
}
