package runpod_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

// bench is a worker in this process and the queue that it works for. Its clock runs at a twentieth of the real times unless
// a test says otherwise.
type bench struct {
	*runpodtest.Server
	t      *testing.T
	worker *runpod.Worker
	log    buffer
	cancel context.CancelFunc
	ended  chan error
	began  time.Time
}

func newBench(t *testing.T, change ...string) *bench {
	t.Helper()
	b := &bench{Server: runpodtest.Start(t), t: t, ended: make(chan error, 1)}
	env := append(b.Env(), "RUNPOD_PING_INTERVAL=50", "WORKER_STATE_DIR="+t.TempDir(), "WORKER_PROGRESS_MIN_INTERVAL=100ms", "RUNPOD_LOG_LEVEL=TRACE")
	for _, c := range change {
		env = append(env, strings.ReplaceAll(c, "{base}", b.URL+"/v2/ep1"))
	}
	config, err := runpod.ReadConfig(env)
	if err != nil {
		t.Fatal(err)
	}
	config.Timing = runpod.DefaultTiming().Scaled(1.0 / 20)
	b.worker = &runpod.Worker{Config: config, Version: "1.2.3", Log: runpod.NewLog(&b.log, config, env), Handler: echo}
	return b
}

// echo answers with its input.
func echo(_ context.Context, job runpod.Job, _ runpod.Reporter) (runpod.Result, error) {
	return runpod.Result{Output: map[string]any{"echo": job.Input}}, nil
}

// start runs the worker until end or the test's end.
func (b *bench) start(handler runpod.Handler) *bench {
	b.t.Helper()
	if handler != nil {
		b.worker.Handler = handler
	}
	ctx, cancel := context.WithCancel(context.Background()) // the test's own would end before its clean-ups
	b.cancel, b.began = cancel, time.Now()
	go func() { b.ended <- b.worker.Run(ctx) }()
	b.t.Cleanup(func() {
		b.end() //nolint:errcheck // tests that care have asked
		if b.t.Failed() {
			b.t.Logf("the worker's log:\n%s", b.log.String())
		}
	})
	return b
}

// end shuts the worker down and returns what Run returns.
func (b *bench) end() error {
	b.t.Helper()
	b.cancel()
	return b.wait()
}

// wait waits for Run to return.
func (b *bench) wait() error {
	b.t.Helper()
	select {
	case err := <-b.ended:
		b.ended <- err
		return err
	case <-time.After(runpodtest.Patience):
		b.worker.Stop()
		b.t.Error("Run does not return")
		return nil
	}
}

// logged are the log's records.
func (b *bench) logged(level string) []logLine {
	b.t.Helper()
	var all []logLine
	for l := range strings.Lines(b.log.String()) {
		var record logLine
		if err := json.Unmarshal([]byte(l), &record); err != nil {
			b.t.Errorf("no JSON in the log: %q: %v", l, err)
		}
		if level == "" || record.Level == level {
			all = append(all, record)
		}
	}
	return all
}

func (b *bench) countLogged(level, text string) int {
	n := 0
	for _, l := range b.logged(level) {
		if strings.Contains(l.Message, text) {
			n++
		}
	}
	return n
}

type logLine struct {
	RequestID *string `json:"requestId"`
	Message   string  `json:"message"`
	Level     string  `json:"level"`
}

// buffer is a writer for many goroutines.
type buffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// posted is the body of a final post.
type posted struct {
	Output  json.RawMessage `json:"output"`
	Error   *string         `json:"error"`
	StopPod bool            `json:"stopPod"`
}

func read(t *testing.T, body string) posted {
	t.Helper()
	var p posted
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("the body %.200q: %v", body, err)
	}
	return p
}

// errorOf is a result's error; there must be one.
func errorOf(t *testing.T, body string) string {
	t.Helper()
	p := read(t, body)
	if p.Error == nil || *p.Error == "" {
		t.Fatalf("the result has no error: %.300s", body)
	}
	return *p.Error
}

// gaps are the times between requests.
func gaps(requests []runpodtest.Request) []time.Duration {
	var all []time.Duration
	for i := 1; i < len(requests); i++ {
		from := requests[i-1].Ended
		if from.IsZero() {
			from = requests[i-1].At
		}
		all = append(all, requests[i].At.Sub(from))
	}
	return all
}

// times counts how often each job is run.
type times struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *times) handler(then runpod.Handler) runpod.Handler {
	return func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		c.mu.Lock()
		if c.n == nil {
			c.n = map[string]int{}
		}
		c.n[job.ID]++
		c.mu.Unlock()
		return then(ctx, job, r)
	}
}

func (c *times) of(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[id]
}

// gated is a handler whose jobs wait until they are let go.
type gated struct{ let chan struct{} }

func newGated() *gated { return &gated{let: make(chan struct{})} }

func (g *gated) handle(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
	select {
	case <-g.let:
		return echo(ctx, job, r)
	case <-ctx.Done():
		return runpod.Result{}, fmt.Errorf("ended: %w", context.Cause(ctx))
	}
}
