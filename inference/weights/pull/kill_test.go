package pull

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/weights/pull/hubtest"
)

// TestMain lets a copy of the test binary pull and be killed.
func TestMain(m *testing.M) {
	dir := os.Getenv("PULL_TO")
	if dir == "" {
		goleak.VerifyTestMain(m) // exits
	}
	rows, err := hubtest.Rows(golden, "all", true)
	if err == nil {
		cfg := Config{Endpoint: os.Getenv("PULL_FROM"), Cache: dir + "-no-cache", limits: scaled}
		cfg.limits.block = 1 << 10 // a 7000th of all; the standard is a 20000th of the 1.7B's files
		_, err = Pull(context.Background(), cfg, weights.Locate(dir), rows, zerolog.Nop(), ignore)
	}
	if err != nil {
		panic(err)
	}
}

// TestKilled: a process is killed 50 times and started again. What it fetches is the files, and little more.
func TestKilled(t *testing.T) {
	t.Parallel()
	h, rows := stand(t)
	h.Connections = 0                                           // a server notices late that a client has gone
	h.Trouble.Piece, h.Trouble.Pace = 1<<10, 3*time.Millisecond // eight times that: 2.7 MB/s, so that it takes them all
	dir, rng := t.TempDir(), rand.New(rand.NewPCG(5, 6))
	kills, finished := 0, false
	for kills < 50 && !finished {
		before := h.Stats().Sent
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), "PULL_TO="+dir, "PULL_FROM="+h.URL)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for h.Stats().Sent == before { // it has begun to fetch: killing it before that tests nothing
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(60 * time.Millisecond))))
		if err := child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if finished = child.Wait() == nil; !finished {
			kills++
		}
	}
	cfg := from(t, h)
	cfg.limits.block = 1 << 10
	pulled(t, cfg, dir, rows)
	same(t, dir)
	ratio := float64(h.Stats().Sent) / float64(total(t))
	t.Logf("%d kills, %.3f bytes sent for each that was needed", kills, ratio)
	if kills < 50 || ratio > 1.2 {
		t.Errorf("%d kills, %.3f bytes sent for each that was needed; want 50 and at most 1.2", kills, ratio)
	}
}
