package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// worker is the worker's process, and what its log has said.
type worker struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // why it ended

	mu         sync.Mutex
	recent     []string // lines
	goroutines int      // after the last job; 0: not said yet
	heap       int64
	lines      int
}

// startWorker starts a binary in an environment. Whatever is still running when the context ends is killed.
func startWorker(ctx context.Context, binary, dir string, env []string) (*worker, error) {
	w := &worker{cmd: exec.CommandContext(ctx, binary), ended: make(chan struct{})}
	w.cmd.Env, w.cmd.Dir = env, dir
	out, in := io.Pipe()
	w.cmd.Stdout, w.cmd.Stderr = in, in
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			w.hear(lines.Text())
		}
	}()
	go func() {
		w.err = w.cmd.Wait()
		in.Close() //nolint:errcheck // it never fails
		<-read
		close(w.ended)
	}()
	return w, nil
}

var leaving = regexp.MustCompile(`^The job has left\..*goroutines=(\d+) heap=(\d+)`)

// recentLines is how much of the log is kept for whoever wants to know why a run failed.
const recentLines = 60

func (w *worker) hear(text string) {
	var line struct{ RequestID, Message, Level string }
	if json.Unmarshal([]byte(text), &line) != nil {
		line.Message = text
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines++
	if w.recent = append(w.recent, strings.TrimSpace(line.Level+" "+line.RequestID+" "+line.Message)); len(w.recent) > recentLines {
		w.recent = w.recent[1:]
	}
	if found := leaving.FindStringSubmatch(line.Message); found != nil {
		w.goroutines, _ = strconv.Atoi(found[1])
		w.heap, _ = strconv.ParseInt(found[2], 10, 64)
	}
}

// said is what the log's last job left behind.
func (w *worker) said() (goroutines int, heap int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.goroutines, w.heap
}

// tail is the end of the log.
func (w *worker) tail() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.recent, "\n")
}

// alive is an error once the process has ended.
func (w *worker) alive() error {
	select {
	case <-w.ended:
		return fmt.Errorf("the worker has ended: %w\n%s", w.err, w.tail())
	default:
		return nil
	}
}

// stop ends the process in order.
func (w *worker) stop() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-w.ended:
	case <-time.After(time.Minute):
		return fmt.Errorf("the worker does not end within a minute of SIGTERM:\n%s", w.tail())
	}
	if w.err != nil {
		return fmt.Errorf("after SIGTERM the worker ended with: %w\n%s", w.err, w.tail())
	}
	return nil
}

// cpu is the time that the process and its children have computed, in seconds; once it has ended.
func (w *worker) cpu() float64 {
	select {
	case <-w.ended:
		return (w.cmd.ProcessState.UserTime() + w.cmd.ProcessState.SystemTime()).Seconds()
	default:
		return 0
	}
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

// proc reads a file of the process.
func (w *worker) proc(name string) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", w.pid(), name))
	if err != nil {
		return ""
	}
	return string(data)
}
