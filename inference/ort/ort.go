// Package ort runs ONNX models on ONNX Runtime, on the processor and on NVIDIA cards: it finds the library, keeps its one
// environment and an arena per Place, turns a graph.Model into a session and memory (Go's, a mapped checkpoint file, or a
// card's) into tensors, brings weights to where they are computed with, and stops a running model when its context ends.
// It is the only room that imports the binding or calls the library (native.go; binding.go says why both).
//
// It must not know what a model computes.
//
// # One way to run
//
// Every run binds its inputs and outputs (IoBinding), on the processor as on a card; only the memory behind the tensors
// differs. Results get fresh memory each time, from the model's static shapes. On the processor that is host memory; on a
// Place of another Kind, values stay in its memory from stage to stage and, if the caller wants, from run to run, and
// bytes pass to and from the host through one small session per device (place.go).
//
// # Where weights are
//
// In float32 on the processor weights are bound from the mapped files as they lie (weights.go). In every other case each
// weight is converted to the type it is computed with and uploaded (convert.go, upload.go), to stay (shelf.go) or to pass
// through two blocks of memory in groups while the group before computes (stream.go). All three give the same numbers.
//
// # Options of the library, and why
//
//   - No folding, no prepacking, no memory pattern: each would copy weights or reserve activations twice (SessionOptions).
//   - One arena for all sessions of a Place, growing by what is asked for; each session by itself would keep its peak.
//     Weights and values that stay on a card have an arena of their own, and one block per group of weights, so that what
//     comes and goes does not lie scattered between activations.
//   - On a card: session.disable_cpu_ep_fallback finds nodes without a kernel (HUMO_CUDA_FALLBACK says what then), and
//     session.use_device_allocator_for_initializers keeps constants out of the arena. The provider's own options, and why
//     CUDA graphs are not among them, are in CUDAConfig.
//
// # Who closes what
//
// The caller closes what it made or was given: every Tensor (inputs as well as the outputs of Run), every Session, Chain,
// Shelf and Mapping, the Runtime last. Close is idempotent everywhere, waits for or outlives the runs that still use
// the thing, and nothing depends on the garbage collector.
package ort

import (
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"
	binding "github.com/yalue/onnxruntime_go"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Runtime is the loaded library with its environment. A process has at most one at a time. All methods may be called
// from several goroutines.
type Runtime struct {
	cfg      Config
	log      zerolog.Logger
	library  string       // as it was found
	native   *native      // its C API
	sessions atomic.Int64 // open ones
	busy     busy

	mu     sync.RWMutex // held for reading while a session is created, for writing to close or to change the arena
	closed bool

	devicesMu     sync.Mutex
	devices       map[Place]*device // those that were used
	devicesClosed bool
}

// The binding keeps its environment in package variables, so there is one per process, and only one goroutine may
// create or destroy it.
var (
	current   *Runtime
	currentMu sync.Mutex
)

// Open loads ONNX Runtime. It fails with code "onnxruntime_missing" if no library can be loaded, and with
// "invalid_setting" as Config.Validate does.
func Open(cfg Config, log zerolog.Logger) (*Runtime, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	currentMu.Lock()
	defer currentMu.Unlock()
	if current != nil {
		return nil, fault.New("onnxruntime_open", "", "ONNX Runtime is open already; a process has one Runtime: share it or close it first")
	}
	name, err := cfg.load()
	if err != nil {
		return nil, err
	}
	rt := &Runtime{cfg: cfg, log: log, library: name, devices: map[Place]*device{}}
	if err := rt.prepare(); err != nil {
		_ = binding.DestroyEnvironment()
		return nil, fault.New("onnxruntime_missing", "", "%s loads but cannot be set up; run `make setup` for version %s", name, LibraryVersion).Because(err)
	}
	current = rt
	log.Debug().Str("library", name).Str("version", rt.Version()).Int("threads", cfg.threads()).Bool("arena", !cfg.ArenaOff).Msg("ONNX Runtime is loaded")
	if rt.Version() != LibraryVersion {
		log.Warn().Str("library", name).Str("version", rt.Version()).Str("tested", LibraryVersion).Msg("this version of ONNX Runtime is not the tested one")
	}
	return rt, nil
}

func (rt *Runtime) prepare() error {
	if err := binding.SetEnvironmentLogLevel(logLevels[rt.cfg.LogLevel]); err != nil {
		return err
	}
	if !rt.cfg.ArenaOff {
		if err := registerArena(); err != nil {
			return err
		}
	}
	var err error
	rt.native, err = openNative(rt.library)
	return err
}

// Version is the version of the loaded library, e.g. "1.30.0".
func (rt *Runtime) Version() string { return binding.GetVersion() }

// Library is the library's path, or its name if the system's loader found it.
func (rt *Runtime) Library() string { return rt.library }

// FreshArena gives the sessions made from now on a new arena, on the host and on each card. The old one goes back to the system when the last
// session that uses it is closed; until then both exist. The arena never shrinks by itself, so call this between
// networks whose buffers differ, not between the blocks of one.
func (rt *Runtime) FreshArena() error {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.closed {
		return nil
	}
	rt.devicesMu.Lock()
	defer rt.devicesMu.Unlock()
	for _, d := range rt.devices {
		if err := d.freshArena(); err != nil {
			return err
		}
	}
	if rt.cfg.ArenaOff {
		return nil
	}
	info, err := binding.GetMemoryInfo()
	if err != nil {
		return err
	}
	if err := binding.UnregisterAllocator(info); err != nil {
		return err
	}
	return registerArena()
}

// registerArena creates the CPU arena that sessions share. It grows by what is asked for: doubling, the library's
// default, made the second run of a model reserve its activations twice.
func registerArena() error {
	info, err := binding.GetMemoryInfo()
	if err != nil {
		return err
	}
	const unlimited, sameAsRequested, libraryDefault = 0, 1, -1
	arena, err := binding.NewArenaCfg(unlimited, sameAsRequested, libraryDefault, libraryDefault)
	if err != nil {
		return err
	}
	defer arena.Destroy()
	return binding.CreateAndRegisterAllocator(info, arena)
}

// Close destroys the environment and unloads the library. It refuses while sessions, or tensors on
// devices, are open: they would be left with pointers into unloaded code.
func (rt *Runtime) Close() error {
	currentMu.Lock()
	defer currentMu.Unlock()
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.closed {
		return nil
	}
	if n := rt.sessions.Load(); n > 0 {
		return fault.New("onnxruntime_open", "", "%d sessions are still open; close them before the Runtime", n)
	}
	if err := rt.closeDevices(); err != nil {
		return err
	}
	rt.closed = true
	current = nil
	rt.native.close()
	return binding.DestroyEnvironment()
}

func (rt *Runtime) closeDevices() error {
	rt.devicesMu.Lock()
	defer rt.devicesMu.Unlock()
	for _, d := range rt.devices {
		if n := d.blocks.Load(); n > 0 {
			return fault.New("onnxruntime_open", "", "%d pieces of memory on %s are still in use; close their tensors, chains and shelves before the Runtime", n, d.place)
		}
	}
	for p, d := range rt.devices {
		d.close()
		delete(rt.devices, p)
	}
	rt.devicesClosed = true
	return nil
}
