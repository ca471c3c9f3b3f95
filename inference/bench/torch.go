package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// What the script is asked for: a network of these sizes.
type (
	torchProducts struct {
		Task  string `json:"task"`
		Rows  int64  `json:"rows"`
		Width int64  `json:"width"`
		Inner int64  `json:"inner"`
	}
	torchDiT struct {
		Task     string   `json:"task"`
		Dim      int      `json:"dim"`
		FFN      int      `json:"ffn"`
		Blocks   int      `json:"blocks"`
		Channels int64    `json:"channels"`
		Grid     wan.Grid `json:"grid"`
	}
	torchVAE struct {
		Task   string `json:"task"`
		Dim    int64  `json:"dim"`
		Frames int    `json:"frames"`
		Height int    `json:"height"`
		Width  int    `json:"width"`
	}
	torchText struct {
		Task       string `json:"task"`
		Dim        int64  `json:"dim"`
		Attention  int64  `json:"attention"`
		FFN        int64  `json:"ffn"`
		Heads      int64  `json:"heads"`
		Buckets    int64  `json:"buckets"`
		Blocks     int    `json:"blocks"`
		Vocabulary int64  `json:"vocabulary"`
		Tokens     int    `json:"tokens"`
	}
	torchAudio struct {
		Task      string `json:"task"`
		Dim       int64  `json:"dim"`
		FFN       int64  `json:"ffn"`
		Heads     int    `json:"heads"`
		Layers    int    `json:"layers"`
		Positions int64  `json:"positions"`
		Mels      int64  `json:"mels"`
		Segments  int    `json:"segments"`
	}
	torchClip struct {
		Task   string     `json:"task"`
		Passes int        `json:"passes"`
		Text   torchText  `json:"text"`
		Audio  torchAudio `json:"audio"`
		DiT    torchDiT   `json:"dit"`
		VAE    torchVAE   `json:"vae"`
	}
)

// torch is a process that measures in PyTorch: it gets its task as an argument and says that it is ready; then it runs once
// for every line that it reads and answers with the seconds.
type torch struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	errors  *tail
	ready   answer
}

// answer is a line of the script's: the first tells the version and the memory of the libraries alone, all others a run.
type answer struct {
	Version   string  `json:"torch"`
	Libraries int64   `json:"libraries"`
	Seconds   float64 `json:"seconds"`
	Peak      int64   `json:"peak"`
}

// HasTorch reports whether a Python has PyTorch.
func HasTorch(ctx context.Context, python string) bool {
	return exec.CommandContext(ctx, python, "-c", "import torch").Run() == nil //nolint:gosec // a developer's own
}

func (b *bench) startTorch(ctx context.Context, task any) (t *torch, err error) {
	where := struct {
		Device  string `json:"device"`
		DType   string `json:"dtype"`
		Threads int    `json:"threads"`
	}{"cpu", "float32", b.report.Threads}
	if b.report.Machine.Provider == "CUDA" {
		where.Device = fmt.Sprintf("cuda:%d", b.where.Device)
	}
	switch graph.ComputeType(b.dtype) {
	case checkpoint.BF16:
		where.DType = "bfloat16"
	case checkpoint.F16:
		where.DType = "float16"
	}
	t = &torch{errors: &tail{}}
	t.process = exec.CommandContext(ctx, b.Python, b.Script, text(task), text(where)) //nolint:gosec // a developer's own
	t.process.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	t.process.Stderr = t.errors
	t.process.Cancel = func() error { return t.process.Process.Signal(syscall.SIGTERM) }
	t.process.WaitDelay = 10 * time.Second
	if t.in, err = t.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := t.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.out = bufio.NewScanner(out)
	if err := t.process.Start(); err != nil {
		return nil, fault.New("no_torch", "", "%s does not start; install Python with PyTorch, or name it with --python", b.Python).
			Because(err)
	}
	if t.ready, err = t.answer(ctx); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Run runs the task once.
func (t *torch) Run(ctx context.Context) (answer, error) {
	if _, err := io.WriteString(t.in, "run\n"); err != nil {
		return answer{}, t.failed(ctx, err)
	}
	return t.answer(ctx)
}

func (t *torch) answer(ctx context.Context) (a answer, err error) {
	if !t.out.Scan() {
		return a, t.failed(ctx, errors.Join(io.ErrUnexpectedEOF, t.out.Err()))
	}
	if err := json.Unmarshal(t.out.Bytes(), &a); err != nil {
		return a, t.failed(ctx, err)
	}
	return a, nil
}

// failed is why the process answers no more.
func (t *torch) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_ = t.Close() // only then has it said everything
	return fault.New("no_torch", "", "the comparison with PyTorch broke off: %s", t.errors.last()).Because(err)
}

// Close ends the process.
func (t *torch) Close() error {
	_ = t.in.Close() // it ends when there is nothing more to read
	_ = t.process.Wait()
	return nil
}

// text is a value as an argument.
func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structures of this file
	}
	return string(data)
}

// tail keeps the end of what a process complains.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-4096):]
	return len(p), nil
}

// last is the last line, which in Python names the error.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.data)), "\n")
	return lines[len(lines)-1]
}
