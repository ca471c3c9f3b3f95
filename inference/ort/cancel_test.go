package ort

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// chainOf is x·w·w·…·w with links products of n×n matrices.
func chainOf(links int, n int64) *graph.Model {
	m := new(toy).in("x0", checkpoint.F32, n, n).in("w", checkpoint.F32, n, n).out("x"+strconv.Itoa(links), checkpoint.F32, n, n)
	for i := range links {
		m.op("MatMul", "x"+strconv.Itoa(i)+" w", "x"+strconv.Itoa(i+1), "")
	}
	return m.build("chain")
}

// identity is a unit matrix, so that a chain of products stays what it is.
func identity(t *testing.T, n int64) *Tensor {
	x := tensorOf(t)(Zeros(checkpoint.F32, []int64{n, n}))
	for i := range n {
		x.Float32s()[i*n+i] = 1
	}
	return x
}

// TestCancel stops a run of several seconds, twice, and lets it finish the third time.
func TestCancel(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n, sample = 512, 20
	in := map[string]*Tensor{"x0": identity(t, n), "w": identity(t, n)}
	short := newSession(t, rt, chainOf(sample, n), SessionOptions{})
	var link time.Duration
	for range 2 { // the first run warms caches
		began := time.Now()
		out, err := short.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		link = time.Since(began) / sample
		closeAll(t, out["x20"])
	}
	links := int(3*time.Second/link) + 1
	t.Logf("a product takes %v; the chain has %d", link, links)

	s := newSession(t, rt, chainOf(links, n), SessionOptions{})
	before, held := goleak.IgnoreCurrent(), allocated.Load()
	for _, c := range []struct {
		ctx  func() (context.Context, context.CancelFunc)
		want error
	}{
		{func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled},
		{func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 200*time.Millisecond)
		}, context.DeadlineExceeded},
	} {
		ctx, cancel := c.ctx()
		began := time.Now()
		out, err := s.Run(ctx, in)
		late := time.Since(began) - 200*time.Millisecond
		cancel()
		if !errors.Is(err, c.want) || out != nil {
			t.Errorf("err = %v, want %v", err, c.want)
		}
		if late > 500*time.Millisecond {
			t.Errorf("stopped %v after the context ended", late)
		}
		t.Logf("stopped %v after the context ended: %v", late, err)
	}
	goleak.VerifyNone(t, before)
	if allocated.Load() != held {
		t.Errorf("stopped runs keep %d bytes", allocated.Load()-held)
	}

	began := time.Now()
	out, err := s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, out["x"+strconv.Itoa(links)])
	if took := time.Since(began); took < time.Second {
		t.Errorf("the whole run took %v: too short to prove anything", took)
	}
	equalFloats(t, out["x"+strconv.Itoa(links)], in["x0"].Float32s()...)
}

// TestCloseDuringRun closes everything while a run is under way: the run must not notice.
func TestCloseDuringRun(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n, links = 512, 40
	want := identity(t, n)
	in := map[string]*Tensor{"x0": identity(t, n), "w": identity(t, n)}
	s := newSession(t, rt, chainOf(links, n), SessionOptions{})
	type result struct {
		out map[string]*Tensor
		err error
	}
	done := make(chan result)
	go func() {
		out, err := s.Run(t.Context(), in)
		done <- result{out, err}
	}()
	for { // until the run has taken its inputs
		in["w"].mu.Lock()
		uses := in["w"].uses
		in["w"].mu.Unlock()
		if uses > 0 {
			break
		}
		runtime.Gosched()
	}
	closeAll(t, in["x0"], in["w"])
	if in["w"].Bytes() == nil {
		t.Error("Close took the memory away from the run")
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer closeAll(t, r.out["x40"])
	if err := <-closed; err != nil {
		t.Error(err)
	}
	equalFloats(t, r.out["x40"], want.Float32s()...)
	if in["w"].Bytes() != nil {
		t.Error("the memory outlives the run")
	}
}
