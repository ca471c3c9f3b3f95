package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// Findings are what a confined program of this binary could do when it tried.
type Findings struct {
	Network   bool // make a socket
	Processes bool // start another program
	ReadFile  bool // read a file that it was not given
	WriteFile bool // write into a folder other than its own
	Root      bool // use what root may and others may not
	Memory    bool // take more memory than its limit
}

// Examine runs a program that tries to break out, and returns what succeeded. An error means that nothing runs confined.
func Examine(ctx context.Context) (Findings, error) {
	var f Findings
	probe, err := os.MkdirTemp("", ".sandbox-*")
	if err != nil {
		return f, err
	}
	defer removeFolder(probe)
	c := examination.Command(ctx, Policy{Memory: 1 << 30, CPU: 10 * time.Second, FileSize: 1 << 20, Patience: time.Minute}, probe)
	defer c.Close()
	out, err := c.StdoutPipe()
	if err != nil {
		return f, err
	}
	if err := c.Start(); err != nil {
		return f, err
	}
	text, _ := io.ReadAll(out) // Wait tells what went wrong
	if err := c.Wait(); err != nil {
		return f, err
	}
	return f, json.Unmarshal(text, &f)
}

var examination = Program("examination", func(args []string) int {
	var f Findings
	if s, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		f.Network = true
		s.Close() //nolint:errcheck // it was opened to see whether it can be
	}
	f.Processes = exec.Command("/bin/true").Run() == nil
	if _, err := os.ReadFile("/etc/passwd"); err == nil {
		f.ReadFile = true
	}
	f.WriteFile = os.WriteFile(args[0]+"/written", nil, 0o600) == nil
	f.Root = os.Chown(".", os.Getuid()+1, -1) == nil
	f.Memory = memoryUnbounded()
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
})
