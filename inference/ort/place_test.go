package ort

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// both are the places that a machine without a card has.
var both = []Place{{}, {Kind: Arena}}

func onPlace(t *testing.T, rt *Runtime, x *Tensor, p Place) *Tensor {
	t.Helper()
	return tensorOf(t)(rt.Upload(t.Context(), x, p))
}

func host(t *testing.T, x *Tensor) *Tensor {
	t.Helper()
	return tensorOf(t)(x.ToHost(t.Context()))
}

func TestDeviceTensors(t *testing.T) {
	rt := openRuntime(t, Config{})
	data := make([]byte, 2*copyPiece+12)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for _, p := range both {
		for _, shape := range [][]int64{{int64(len(data)) / 4}, {}, {1}, {0, 3}} {
			size, err := byteSize(checkpoint.F32, shape)
			if err != nil {
				t.Fatal(err)
			}
			x := tensorOf(t)(NewTensor(checkpoint.F32, shape, data[:size]))
			y, err := rt.Upload(t.Context(), x, p)
			if err != nil {
				t.Fatal(err)
			}
			if y.Place() != p || y.Size() != size || y.DType() != checkpoint.F32 || !cmp.Equal(y.Shape(), append([]int64{}, shape...)) {
				t.Errorf("%s: got %s%v of %d bytes on %s", p, y.DType(), y.Shape(), y.Size(), y.Place())
			}
			if p.Kind != CPU && (y.Bytes() != nil || y.Float32s() != nil || rt.Held(p) != size) {
				t.Errorf("%s: the host sees the memory, or %d bytes are held instead of %d", p, rt.Held(p), size)
			}
			if back := host(t, y); string(back.Bytes()) != string(data[:size]) {
				t.Errorf("%s%v does not come back as it was", p, shape)
			}
			closeAll(t, y, y)
			if _, err := y.ToHost(t.Context()); err == nil || rt.Held(p) != 0 {
				t.Errorf("%s: a closed tensor is read (%v) or holds %d bytes", p, err, rt.Held(p))
			}
		}
		x := tensorOf(t)(NewTensor(checkpoint.U8, []int64{int64(len(data))}, data))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := rt.Upload(ended, x, p); !errors.Is(err, context.Canceled) || rt.Held(p) != 0 {
			t.Errorf("%s: err = %v, %d bytes held", p, err, rt.Held(p))
		}
	}
}

// A run takes inputs from the host and its place in any mix, and leaves outputs on either; results that stay are fresh
// memory in every run, so one can be the next one's input.
func TestResultsThatStay(t *testing.T) {
	rt := openRuntime(t, Config{})
	m := new(toy).in("x", checkpoint.F32, 2).in("w", checkpoint.F32, 2).out("y", checkpoint.F32, 2).out("z", checkpoint.F32, 2).
		op("Add", "x w", "y", "").op("Mul", "x w", "z", "").build("both")
	for _, p := range both {
		s := newSession(t, rt, m, SessionOptions{Place: p})
		w := onPlace(t, rt, floats(t, []int64{2}, 1, 10), p)
		x := floats(t, []int64{2}, 0, 0)
		var kept []*Tensor
		for range 5 {
			out, err := s.run(t.Context(), map[string]*Tensor{"x": x, "w": w}, func(port string) bool { return port == "y" })
			if err != nil {
				t.Fatal(err)
			}
			if out["y"].Place() != p || out["z"].Place() != (Place{}) {
				t.Errorf("%s: the outputs are on %s and %s", p, out["y"].Place(), out["z"].Place())
			}
			closeAll(t, out["z"])
			x = out["y"]
			kept = append(kept, x)
		}
		for i, y := range kept { // all of them, after all runs
			equalFloats(t, host(t, y), float32(i+1), float32(10*(i+1)))
			closeAll(t, y)
		}
		closeAll(t, w)
		if rt.Held(p) != 0 {
			t.Errorf("%s: %d bytes are left", p, rt.Held(p))
		}
	}
	cpu := newSession(t, rt, m, SessionOptions{})
	away := onPlace(t, rt, floats(t, []int64{2}, 1, 10), Place{Kind: Arena})
	_, err := cpu.Run(t.Context(), map[string]*Tensor{"x": away, "w": floats(t, []int64{2}, 1, 1)})
	if fault.CodeOf(err) != "onnxruntime_input" || !strings.Contains(err.Error(), `"x" lies on arena:0, the session runs on cpu`) {
		t.Errorf("err = %v", err)
	}
	if _, err := rt.Upload(t.Context(), away, Place{}); fault.CodeOf(err) != "onnxruntime_tensor" {
		t.Errorf("Upload of a device's tensor: %v", err)
	}
}

// Many runs at once share a device; some of them are stopped.
func TestDeviceConcurrency(t *testing.T) {
	rt := openRuntime(t, Config{})
	p := Place{Kind: Arena}
	const n, links = 96, 60
	s := newSession(t, rt, chainOf(links, n), SessionOptions{Place: p, Threads: 1})
	x := onPlace(t, rt, identity(t, n), p)
	before := rt.Held(p)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for round := range 10 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+round)%3 == 0 {
					time.AfterFunc(time.Millisecond, cancel)
				}
				out, err := s.run(ctx, map[string]*Tensor{"x0": x, "w": x}, func(string) bool { return true })
				cancel()
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					continue
				}
				back, err := out["x"+strconv.Itoa(links)].ToHost(t.Context())
				if err != nil {
					t.Error(err)
					continue
				}
				if back.Float32s()[n+1] != 1 || back.Float32s()[1] != 0 {
					t.Error("the result is wrong")
				}
				closeAll(t, back, out["x"+strconv.Itoa(links)])
			}
		})
	}
	wg.Wait()
	if rt.Held(p) != before {
		t.Errorf("%d bytes are left", rt.Held(p)-before)
	}
}

// Memory that no tensor uses goes back.
func TestDeviceMemoryGoesBack(t *testing.T) {
	rt := openRuntime(t, Config{})
	p := Place{Kind: Arena}
	x := tensorOf(t)(Zeros(checkpoint.F32, []int64{16 << 20})) // 64 MiB
	warm := onPlace(t, rt, floats(t, []int64{1}, 1), p)
	before := anonymous(t)
	y := onPlace(t, rt, x, p)
	if grown := anonymous(t) - before; grown < 60<<20 {
		t.Fatalf("the upload took %d MiB", grown>>20)
	}
	closeAll(t, y, warm)
	if err := rt.FreshArena(); err != nil {
		t.Fatal(err)
	}
	if grown := anonymous(t) - before; grown > 4<<20 {
		t.Errorf("%d MiB are left", grown>>20)
	}
	z := onPlace(t, rt, x, p)
	if err := rt.Close(); fault.CodeOf(err) != "onnxruntime_open" || !strings.Contains(err.Error(), "1 pieces of memory on arena:0") {
		t.Errorf("Close with an open tensor: %v", err)
	}
	closeAll(t, z)
	closeAll(t, rt)
	if _, err := rt.Upload(t.Context(), x, p); err == nil {
		t.Error("a closed Runtime takes an upload")
	}
	if _, err := rt.NewShelf(Place{Kind: CUDA}); err == nil {
		t.Error("a closed Runtime opens a card")
	}
}

func TestCUDASettings(t *testing.T) {
	cfg, err := env.ParseAsWithOptions[CUDAConfig](env.Options{Environment: map[string]string{
		"HUMO_CUDA_ARENA": "doubling", "HUMO_CUDA_MEMORY_MIB": "1024", "HUMO_CUDA_CONV_SEARCH": "exhaustive",
		"HUMO_CUDA_NO_TF32": "1", "HUMO_CUDA_ATTENTION": "flash, cudnn", "HUMO_CUDA_NHWC": "true", "HUMO_CUDA_FALLBACK": "refuse"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	want := map[string]string{"device_id": "2", "arena_extend_strategy": "kNextPowerOfTwo", "gpu_mem_limit": "1073741824", "cudnn_conv_algo_search": "EXHAUSTIVE",
		"use_tf32": "0", "sdpa_kernel": "9", "prefer_nhwc": "1", "do_copy_in_default_stream": "1"}
	if diff := cmp.Diff(want, cfg.options(2)); diff != "" {
		t.Error(diff)
	}
	want = map[string]string{"device_id": "0", "arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC",
		"use_tf32": "1", "sdpa_kernel": "11", "prefer_nhwc": "0", "do_copy_in_default_stream": "1"}
	if diff := cmp.Diff(want, CUDAConfig{}.options(0)); diff != "" {
		t.Error(diff)
	}
	for want, cfg := range map[string]CUDAConfig{
		`HUMO_CUDA_ARENA: "big" is not one of exact`:               {Arena: "big"},
		"HUMO_CUDA_MEMORY_MIB: -1 is outside 0…":                   {MemoryMiB: -1},
		"HUMO_CUDA_MEMORY_MIB: 25769803776 is outside":             {MemoryMiB: 24 << 30},
		`HUMO_CUDA_CONV_SEARCH: "default" is not one of heuristic`: {ConvSearch: "default"},
		`HUMO_CUDA_ATTENTION: "sage" is not one of flash`:          {Attention: []string{"flash", "sage"}},
		`HUMO_CUDA_FALLBACK: "no" is not one of warn`:              {Fallback: "no"},
	} {
		if _, err := Open(Config{CUDA: cfg}, zerolog.Nop()); fault.CodeOf(err) != "invalid_setting" || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// The library of `make setup` serves the processor only; whoever asks it for a card learns what to do.
func TestNoCUDA(t *testing.T) {
	if os.Getenv("ONNXRUNTIME_LIB") != "" {
		t.Skip("ONNXRUNTIME_LIB names another library, which may have the provider")
	}
	rt := openRuntime(t, Config{})
	card := Place{Kind: CUDA}
	_, session := rt.NewSession(affine(), SessionOptions{Place: card})
	_, shelf := rt.NewShelf(card)
	_, upload := rt.Upload(t.Context(), floats(t, []int64{1}, 1), card)
	for _, err := range []error{session, shelf, upload} {
		if fault.CodeOf(err) != "cuda_missing" || !strings.Contains(err.Error(), "no CUDA provider that works on cuda:0; use the GPU build of version "+LibraryVersion) ||
			!strings.Contains(err.Error(), "docs/deploy.md") {
			t.Errorf("err = %v", err)
		}
	}
	t.Log(session)
	if _, err := rt.NewShelf(Place{Kind: CUDA, Device: -1}); fault.CodeOf(err) != "cuda_missing" {
		t.Errorf("cuda:-1: %v", err)
	}
	if s := newSession(t, rt, affine(), SessionOptions{}); s == nil { // the processor still works
		t.Error("no session")
	}
}
