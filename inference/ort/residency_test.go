package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// deep is a network of layers x → x + tanh(x·Wᵢ) with n×n weights, stored in dtype one after the other in a file, and the
// sum of all x as its state.
func deep(t *testing.T, layers int, n int64, dtype checkpoint.DType) *graph.Network {
	t.Helper()
	numbers := make([]float32, int64(layers)*n*n)
	for i := range numbers {
		numbers[i] = float32(i*7919%1009-504) / 4096
	}
	raw := bytesOf(numbers)
	if dtype != checkpoint.F32 {
		narrow := make([]byte, len(raw)/2)
		convert(narrow, dtype, raw, checkpoint.F32)
		raw = narrow
	}
	return deepOver(weightFile(t, 130, raw), layers, n, dtype)
}

func deepOver(file string, layers int, n int64, dtype checkpoint.DType) *graph.Network {
	x := graph.Port{Name: "x", DType: checkpoint.F32, Shape: []int64{2, n}}
	sum := graph.Port{Name: "sum", DType: checkpoint.F32, Shape: []int64{2, n}}
	net := &graph.Network{Name: "deep", Inputs: []graph.Port{x, sum}, Outputs: []string{"y", "first"}, State: []string{"sum"}}
	for i := range layers {
		w := graph.Weight{Tensor: stored(file, 130+int64(i)*n*n*dtype.Size(), dtype, nil, n, n)}
		s := graph.Stage{Name: "layers." + strconv.Itoa(i), In: []string{"x"}, Out: []string{"x"}, Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
			y := g.ToFloat32(g.MatMul(g.ToCompute(in[0]), g.WeightIn(g.ComputeType(), w)))
			return []graph.Value{g.Add(in[0], g.Tanh(y))}
		}}
		net.Stages = append(net.Stages, s)
	}
	net.Stages[0].Out = []string{"first"}
	if layers > 1 {
		net.Stages[1].In = []string{"first"}
	}
	net.Stages = append(net.Stages, graph.Stage{Name: "end", In: []string{"x", "sum"}, Out: []string{"y", "sum"}, Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
		return []graph.Value{g.Add(in[0], in[0]), g.Add(in[1], in[0])}
	}})
	return net
}

func deepInput(t *testing.T, n int64) map[string]*Tensor {
	x := tensorOf(t)(Zeros(checkpoint.F32, []int64{2, n}))
	for i := range x.Float32s() {
		x.Float32s()[i] = float32(i%13) / 8
	}
	return map[string]*Tensor{"x": x}
}

func zeroState(t *testing.T, n int64) map[string]*Tensor {
	t.Helper()
	return map[string]*Tensor{"sum": tensorOf(t)(Zeros(checkpoint.F32, []int64{2, n}))}
}

// newChain also checks that the chain leaves nothing behind.
func newChain(t *testing.T, rt *Runtime, n *graph.Network, o ChainOptions) *Chain {
	t.Helper()
	c, err := rt.NewChain(n, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, c) })
	return c
}

// placeOf is where a value that stays, or one that does not, is after a run.
func (c *Chain) placeOf(stays bool) Place {
	if stays {
		return c.own[0].device.place
	}
	return Place{}
}

// twice runs a chain two times, the state of the first run going into the second, and returns what both leave.
func twice(t *testing.T, c *Chain, n int64) (results [][]float32) {
	t.Helper()
	state := zeroState(t, n)
	in := deepInput(t, n)
	for range 2 {
		out, err := c.Run(t.Context(), in, state)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"y", "first"} {
			if want := c.placeOf(slices.Contains(c.keep, name)); out[name].Place() != want {
				t.Errorf("%s is on %s, want %s", name, out[name].Place(), want)
			}
			results = append(results, slices.Clone(host(t, out[name]).Float32s()))
		}
		if err := CloseAll(out); err != nil {
			t.Error(err)
		}
	}
	if want := c.placeOf(!c.onHost); state["sum"].Place() != want {
		t.Errorf("the state is on %s, want %s", state["sum"].Place(), want)
	}
	results = append(results, slices.Clone(host(t, state["sum"]).Float32s()))
	if err := CloseAll(state); err != nil {
		t.Error(err)
	}
	return results
}

// However the weights come and wherever the values are, the numbers are the same to the last bit.
func TestEveryWayGivesTheSame(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n, layers = 64, 5
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		net := deep(t, layers, n, dtype)
		for _, compute := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
			var want [][]float32
			for _, p := range both {
				shelf, err := rt.NewShelf(p)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range []ChainOptions{
					{}, {Shelf: shelf}, {Shelf: shelf, Keep: []string{"first", "y"}}, {StateOnHost: true}, {Groups: 2}, {Groups: 3, Keep: []string{"first"}},
					{Groups: layers}, {Groups: 100, StateOnHost: true, Session: SessionOptions{Threads: 2}},
				} {
					o.Place, o.Compute = p, compute
					name := fmt.Sprintf("%s as %s on %s: %+v", dtype, compute, p, o)
					c, err := rt.NewChain(net, o)
					if err != nil {
						t.Fatal(name, err)
					}
					got := twice(t, c, n)
					closeAll(t, c)
					if want == nil {
						want = got
						if want[0][3] == 0 || slices.Equal(want[0], want[1]) {
							t.Fatalf("%s computes nothing", name)
						}
					}
					for i := range want {
						if !slices.Equal(want[i], got[i]) {
							t.Errorf("%s: result %d differs", name, i)
						}
					}
				}
				closeAll(t, shelf)
				if rt.Held(p) != 0 {
					t.Errorf("%d bytes are left on %s", rt.Held(p), p)
				}
			}
		}
	}
}

// Two groups at most are ever there, and the first group of the next run is brought before that begins.
func TestStreamMemory(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n, layers = 128, 6
	layer := int64(4 * n * n)
	for _, p := range both {
		for groups, largest := range map[int]int64{2: 3, 3: 2, 4: 2, 6: 1, 50: 1} {
			net := deep(t, layers, n, checkpoint.F32)
			c := newChain(t, rt, net, ChainOptions{Place: p, Groups: groups})
			d, err := rt.device(p)
			if err != nil {
				t.Fatal(err)
			}
			before := d.held.Load()
			d.peak.Store(before)
			twice(t, c, n)
			s := c.weights.(*stream)
			values := int64(0)
			if p.Kind != CPU {
				values = 8 * 2 * 4 * n // the values that pass between stages, their largest number
			}
			if weights := d.peak.Load() - before; weights < 2*largest*layer || weights > 2*largest*layer+values {
				t.Errorf("%s, %d groups: %d bytes at once, want %d (a layer has %d)", p, groups, weights, 2*largest*layer, layer)
			}
			if s.next == nil || s.coming != 0 {
				t.Errorf("%s, %d groups: the next run's first group is not on its way", p, groups)
			} else if _, err := s.next.wait(t.Context()); err != nil {
				t.Error(err)
			}
			closeAll(t, c)
			if d.held.Load() != before {
				t.Errorf("%s: the closed chain holds %d bytes", p, d.held.Load()-before)
			}
		}
	}
	c := newChain(t, rt, deep(t, 1, n, checkpoint.F32), ChainOptions{Groups: 4})
	if _, ok := c.weights.(*resident); !ok {
		t.Errorf("one layer is streamed: %T", c.weights)
	}
	twice(t, c, n)
}

func TestGroups(t *testing.T) {
	for _, c := range []struct {
		sizes []int64
		n     int
		first []int
		most  int64
	}{
		{[]int64{1, 1, 1, 1}, 2, []int{0, 2}, 2},
		{[]int64{5, 1, 1, 1}, 2, []int{0, 1}, 5},
		{[]int64{0, 4, 4, 0, 4, 0}, 3, []int{0, 2, 4}, 4},
		{[]int64{3, 3, 3}, 9, []int{0, 1, 2}, 3},
		{[]int64{7}, 3, []int{0}, 7},
		{[]int64{0, 0}, 2, []int{0}, 0},
	} {
		first, most := groupsOf(c.sizes, c.n)
		if !slices.Equal(first, c.first) || most != c.most {
			t.Errorf("%v in %d: %v, %d; want %v, %d", c.sizes, c.n, first, most, c.first, c.most)
		}
	}
}

// Runs that are stopped at any moment leave no memory and no goroutine, and the next run is right.
func TestStoppedRuns(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n, layers = 256, 8
	net := deep(t, layers, n, checkpoint.BF16)
	in := deepInput(t, n)
	for _, o := range []ChainOptions{{Compute: checkpoint.F16}, {Groups: 3}, {Groups: 8, Compute: checkpoint.BF16}} {
		for _, p := range both {
			o.Place = p
			rt.device(p) //nolint:errcheck // opened before the counting
			before, held, pages := goleak.IgnoreCurrent(), rt.Held(p), allocated.Load()
			c, err := rt.NewChain(net, o)
			if err != nil {
				t.Fatal(err)
			}
			want := [][]float32(nil)
			stopped := 0
			for i := range 30 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 != 2 {
					time.AfterFunc(time.Duration(i*i)*50*time.Microsecond, cancel)
				}
				state := zeroState(t, n)
				out, err := c.Run(ctx, in, state)
				cancel()
				switch {
				case err == nil:
					y := slices.Clone(out["y"].Float32s())
					if want == nil {
						want = [][]float32{y}
					}
					if !slices.Equal(want[0], y) {
						t.Errorf("%+v: the result differs after stopped runs", o)
					}
				case errors.Is(err, context.Canceled):
					stopped++
				default:
					t.Fatal(err)
				}
				if err := errors.Join(CloseAll(out), CloseAll(state)); err != nil {
					t.Error(err)
				}
			}
			closeAll(t, c)
			if stopped == 0 || want == nil {
				t.Errorf("%+v: %d runs were stopped, want some but not all", o, stopped)
			}
			goleak.VerifyNone(t, before)
			if rt.Held(p) != held || allocated.Load() != pages {
				t.Errorf("%+v: %d and %d bytes are left", o, rt.Held(p)-held, allocated.Load()-pages)
			}
		}
	}
}

// Several goroutines run one chain; chains share a shelf; what nobody holds is dropped.
func TestShelf(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n, layers = 64, 4
	net := deep(t, layers, n, checkpoint.BF16)
	for _, p := range both {
		shelf, err := rt.NewShelf(p)
		if err != nil {
			t.Fatal(err)
		}
		o := ChainOptions{Place: p, Compute: checkpoint.BF16, Shelf: shelf}
		if p.Kind == CPU {
			o.Compute = checkpoint.F16
		}
		a, b := newChain(t, rt, net, o), newChain(t, rt, net, o)
		want := twice(t, newChain(t, rt, net, ChainOptions{Place: p, Compute: o.Compute}), n)
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				c := []*Chain{a, b}[i%2]
				state := zeroState(t, n)
				out, err := c.Run(t.Context(), deepInput(t, n), state)
				if err != nil {
					t.Error(err)
					return
				}
				if !slices.Equal(out["y"].Float32s(), want[0]) {
					t.Error("the result differs")
				}
				if err := errors.Join(CloseAll(out), CloseAll(state)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got, want := shelf.Bytes(), int64(layers*n*n*2); got != want {
			t.Errorf("the shelf has %d bytes, want each weight once: %d", got, want)
		}
		closeAll(t, a)
		if err := shelf.Close(); fault.CodeOf(err) != "onnxruntime_open" || shelf.Bytes() == 0 {
			t.Errorf("the shelf of an open chain closes: %v, %d bytes", err, shelf.Bytes())
		}
		closeAll(t, b)
		if shelf.Bytes() == 0 {
			t.Error("the weights did not stay")
		}
		if err := shelf.Drop(); err != nil || shelf.Bytes() != 0 {
			t.Errorf("Drop: %v, %d bytes are left", err, shelf.Bytes())
		}
		closeAll(t, shelf)
	}
	shelf, err := rt.NewShelf(Place{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rt.NewChain(net, ChainOptions{Place: Place{Kind: Arena}, Shelf: shelf}); err == nil || !strings.Contains(err.Error(), "the shelf is on cpu, the chain on arena:0") {
		t.Errorf("err = %v", err)
	}
}

// Streamed runs from several goroutines take turns.
func TestStreamTurns(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n = 64
	net := deep(t, 4, n, checkpoint.F32)
	want := twice(t, newChain(t, rt, net, ChainOptions{}), n)
	c := newChain(t, rt, net, ChainOptions{Groups: 2})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if got := twice(t, c, n); !slices.Equal(got[2], want[2]) {
				t.Error("the result differs")
			}
		})
	}
	wg.Wait()
}

// A chain that is closed while it runs, or before, fails and keeps nothing.
func TestClosedChains(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n = 128
	net := deep(t, 8, n, checkpoint.BF16)
	for _, p := range both {
		for _, o := range []ChainOptions{{Compute: checkpoint.F16}, {Groups: 4}} {
			o.Place = p
			for i := range 12 {
				c, err := rt.NewChain(net, o)
				if err != nil {
					t.Fatal(err)
				}
				in, state := deepInput(t, n), zeroState(t, n)
				done := make(chan error)
				go func() {
					out, err := c.Run(t.Context(), in, state)
					done <- errors.Join(err, CloseAll(out))
				}()
				time.Sleep(time.Duration(i) * 200 * time.Microsecond)
				closeAll(t, c)
				if err := <-done; err != nil {
					t.Log(err)
				}
				if out, err := c.Run(t.Context(), in, zeroState(t, n)); err == nil || out != nil {
					t.Error("a closed chain runs")
				}
				closeAll(t, c)
				if err := CloseAll(state); err != nil {
					t.Error(err)
				}
			}
			if rt.Held(p) != 0 {
				t.Errorf("%d bytes are left on %s", rt.Held(p), p)
			}
		}
	}
}

func TestWeightsThatFail(t *testing.T) {
	rt := openRuntime(t, Config{})
	const n = 4
	numbers := make([]float32, 3*n*n)
	numbers[2*n*n+5] = 70000
	file := weightFile(t, 130, bytesOf(numbers))
	net := deepOver(file, 3, n, checkpoint.F32)
	for _, p := range both {
		for _, groups := range []int{0, 2, 3} {
			c := newChain(t, rt, net, ChainOptions{Place: p, Groups: groups, Compute: checkpoint.F16})
			for range 2 {
				_, err := c.Run(t.Context(), deepInput(t, n), zeroState(t, n))
				if fault.CodeOf(err) != "weight_overflow" || !strings.Contains(err.Error(), "the weight holds 70000, which F16 cannot") {
					t.Errorf("err = %v", err)
				}
			}
			closeAll(t, c)
			if rt.Held(p) != 0 {
				t.Errorf("%d bytes are left on %s", rt.Held(p), p)
			}
		}
	}
	// A file that is too short is found when it is mapped; once it is replaced, the same chain runs.
	whole := weightFile(t, 130, make([]byte, 4*9*n*n))
	short := deepOver(file, 9, n, checkpoint.F32)
	var chains []*Chain
	for _, o := range []ChainOptions{{Groups: 2}, {Place: Place{Kind: Arena}}} {
		c := newChain(t, rt, short, o)
		if _, err := c.Run(t.Context(), deepInput(t, n), zeroState(t, n)); fault.CodeOf(err) != "checkpoint_truncated" {
			t.Errorf("err = %v", err)
		}
		chains = append(chains, c)
	}
	if err := os.Rename(whole, file); err != nil {
		t.Fatal(err)
	}
	for _, c := range chains {
		twice(t, c, n)
	}
	if _, err := rt.NewChain(deep(t, 2, n, checkpoint.F32), ChainOptions{Keep: []string{"z"}}); err == nil || !strings.Contains(err.Error(), "no output z to keep") {
		t.Errorf("err = %v", err)
	}
}
