package ort

import (
	"bufio"
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// anonymous is the process's resident memory that no file backs, in bytes.
func anonymous(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if number, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(number), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kB << 10
		}
	}
	t.Fatal("/proc/self/status has no RssAnon")
	return 0
}

// TestCycles makes, runs and destroys many sessions; stopped and failed runs among them.
func TestCycles(t *testing.T) {
	rt := openRuntime(t, Config{Threads: 2})
	const n = 64
	m := chainOf(4, n)
	cycle := func(i int) {
		s, err := rt.NewSession(m, SessionOptions{ArenaOff: i%2 == 1})
		if err != nil {
			t.Fatal(err)
		}
		x, err := Zeros(checkpoint.F32, []int64{n, n})
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewTensor(checkpoint.F32, []int64{n, n}, make([]byte, 4*n*n))
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]*Tensor{"x0": x, "w": w}
		out, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go cancel() // before, during or after the run
		if late, err := s.Run(ctx, in); err == nil {
			closeAll(t, late["x4"])
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := rt.NewSession(new(toy).in("x", checkpoint.F32, 1).out("y", checkpoint.F32, 1).op("No", "x", "y", "").build("bad"), SessionOptions{}); err == nil {
			t.Fatal("a bad model was accepted")
		}
		closeAll(t, x, w, out["x4"])
		closeAll(t, s)
	}
	for i := range 500 { // until the library's and malloc's caches are warm
		cycle(i)
	}
	memory, goroutines, held := anonymous(t), runtime.NumGoroutine(), allocated.Load()
	for i := range 1000 {
		cycle(i)
	}
	grown := anonymous(t) - memory
	t.Logf("resident memory grew by %d kB", grown>>10)
	if grown > 4<<20 {
		t.Errorf("1000 cycles grew resident memory by %d kB", grown>>10)
	}
	for i := 0; i < 100 && runtime.NumGoroutine() > goroutines; i++ {
		time.Sleep(10 * time.Millisecond) // the last cancel may be under way
	}
	if g := runtime.NumGoroutine(); g > goroutines {
		t.Errorf("%d goroutines became %d", goroutines, g)
	}
	if allocated.Load() != held {
		t.Errorf("%d bytes of tensors are not given back", allocated.Load()-held)
	}
}

// TestChainCycles makes, runs and closes chains whose weights are uploaded and streamed and whose values stay on a device.
func TestChainCycles(t *testing.T) {
	rt := openRuntime(t, Config{Threads: 1})
	const n = 32
	net := deep(t, 3, n, checkpoint.BF16)
	p := Place{Kind: Arena}
	cycle := func(i int) {
		c, err := rt.NewChain(net, ChainOptions{Place: p, Groups: i % 4, Compute: checkpoint.F16, Keep: []string{"y"}, StateOnHost: i%3 == 0})
		if err != nil {
			t.Fatal(err)
		}
		x, err := Zeros(checkpoint.F32, []int64{2, n})
		if err != nil {
			t.Fatal(err)
		}
		sum, err := rt.Upload(t.Context(), x, p)
		if err != nil {
			t.Fatal(err)
		}
		state := map[string]*Tensor{"sum": sum}
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			if i%5 == 0 {
				go cancel()
			}
			out, err := c.Run(ctx, map[string]*Tensor{"x": x}, state)
			cancel()
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				break
			}
			if err := CloseAll(out); err != nil {
				t.Fatal(err)
			}
		}
		closeAll(t, x)
		closeAll(t, c)
		if err := CloseAll(state); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		cycle(i)
	}
	memory, goroutines := anonymous(t), runtime.NumGoroutine()
	for i := range 240 {
		cycle(i)
	}
	grown := anonymous(t) - memory
	t.Logf("resident memory grew by %d kB", grown>>10)
	if grown > 4<<20 {
		t.Errorf("240 cycles grew resident memory by %d kB", grown>>10)
	}
	for i := 0; i < 100 && runtime.NumGoroutine() > goroutines; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if g := runtime.NumGoroutine(); g > goroutines {
		t.Errorf("%d goroutines became %d", goroutines, g)
	}
	if rt.Held(p) != 0 {
		t.Errorf("%d bytes are held", rt.Held(p))
	}
}

// TestFreshArena shows that the arena keeps what a run needed, and that replacing it gives that back.
func TestFreshArena(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n = 4096 // 64 MiB a matrix
	m := new(toy).in("x", checkpoint.F32, n, 1).in("y", checkpoint.F32, 1, n).out("z", checkpoint.F32, 1).
		op("MatMul", "x y", "a", "").op("Relu", "a", "b", "").op("ReduceSum", "b", "c", "keepdims=0").op("Reshape", "c one", "z", "").
		in("one", checkpoint.I64, 1).build("wide")
	in := map[string]*Tensor{"x": tensorOf(t)(Zeros(checkpoint.F32, []int64{n, 1})), "y": tensorOf(t)(Zeros(checkpoint.F32, []int64{1, n})),
		"one": tensorOf(t)(FromInt64s([]int64{1}, []int64{1}))}
	run := func() {
		s, err := rt.NewSession(m, SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		closeAll(t, out["z"])
		closeAll(t, s)
	}
	before := anonymous(t)
	run()
	run()
	kept := anonymous(t) - before
	if err := rt.FreshArena(); err != nil {
		t.Fatal(err)
	}
	after := anonymous(t) - before
	t.Logf("kept %d MiB, after FreshArena %d MiB", kept>>20, after>>20)
	if gone := kept - after; gone < 64<<20 || kept > 160<<20 { // what else the process gives back meanwhile is in both
		t.Errorf("two sessions with 64 MiB activations keep %d MiB, of which %d MiB are the shared arena's", kept>>20, gone>>20)
	}
	if after > 8<<20 {
		t.Errorf("%d MiB are left after FreshArena", after>>20)
	}
	run()
}
