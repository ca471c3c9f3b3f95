package ort

import (
	"sync"
	"time"

	binding "github.com/yalue/onnxruntime_go"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Optimization is how far ONNX Runtime may rewrite a graph.
type Optimization int

// The levels. On the CPU their speeds lie within 5 %; the low ones serve comparisons.
const (
	OptimizeAll   Optimization = iota // everything, layouts included (convolution weights are repacked in memory)
	OptimizeMost                      // all but the layouts
	OptimizeBasic                     // only what gives the same results
	OptimizeOff
)

var levels = map[Optimization]binding.GraphOptimizationLevel{
	OptimizeAll:   binding.GraphOptimizationLevelEnableAll,
	OptimizeMost:  binding.GraphOptimizationLevelEnableExtended,
	OptimizeBasic: binding.GraphOptimizationLevelEnableBasic,
	OptimizeOff:   binding.GraphOptimizationLevelDisableAll,
}

// SessionOptions say how one model runs. The zero value is right for a model whose weights lie in mapped files: it
// copies none of them.
type SessionOptions struct {
	// Threads compute one node; 0 takes the process's setting (Config.Threads).
	Threads int

	// ArenaOff keeps this session out of the shared arena; Config.ArenaOff does so for all.
	ArenaOff bool

	// NoSpin lets idle threads of this session sleep at once; Config.NoSpin does so for all.
	NoSpin bool

	// FoldConstants computes what depends on weights alone while the session is made. The results live outside the
	// mapped file: a bf16 weight that is cast to fp32 would take twice its size in memory.
	FoldConstants bool

	// Prepack copies weights into the layout that the matrix kernels like best: 1–4 % faster for a full copy in
	// memory.
	Prepack bool

	// Optimization is how far the graph may be rewritten.
	Optimization Optimization
}

// Session is a model that is ready to run. Methods may be called from several goroutines; runs of one session may
// overlap.
type Session struct {
	rt     *Runtime
	name   string
	inputs []graph.Port // with the bound weights, in the order of the binding's session
	output []graph.Port

	mu      sync.RWMutex // held for reading by runs, for writing by Close
	session *binding.DynamicAdvancedSession
}

// NewSession loads m. A model that ONNX Runtime does not accept gives code "onnxruntime_session" with the model's
// name and, as the cause, the library's message; so does a missing or truncated file of external data.
func (rt *Runtime) NewSession(m *graph.Model, opts SessionOptions) (*Session, error) {
	s := &Session{rt: rt, name: m.Name, output: m.Outputs}
	s.inputs = append(s.inputs, m.Inputs...)
	for _, w := range m.Bound {
		s.inputs = append(s.inputs, w.Port)
	}
	if err := s.checkPorts(); err != nil {
		return nil, err
	}
	rt.mu.RLock() // the environment and its arena stay as they are meanwhile
	defer rt.mu.RUnlock()
	if rt.closed {
		return nil, fault.New("onnxruntime_session", m.Name, "the Runtime is closed; open another")
	}
	began := time.Now()
	settings, err := rt.settings(opts)
	if err != nil {
		return nil, s.refused(err)
	}
	defer func() { _ = settings.Destroy() }() // fails only if it was never made
	s.session, err = binding.NewDynamicAdvancedSessionWithONNXData(m.Bytes, names(s.inputs), names(s.output), settings)
	if err != nil {
		return nil, s.refused(err)
	}
	rt.sessions.Add(1)
	rt.log.Debug().Str("model", m.Name).Int("bytes", len(m.Bytes)).Int("bound_weights", len(m.Bound)).Dur("took_ms", time.Since(began)).Msg("session is ready")
	return s, nil
}

// Close frees the session. It waits for the runs that are under way; end their contexts to hurry them.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	s.rt.sessions.Add(-1)
	return err
}

// settings are ONNX Runtime's own options. Why each is as it is was measured: see SessionOptions and Config.
func (rt *Runtime) settings(opts SessionOptions) (*binding.SessionOptions, error) {
	o, err := binding.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	arena := !rt.cfg.ArenaOff && !opts.ArenaOff
	threads := opts.Threads
	if threads == 0 {
		threads = rt.cfg.threads()
	}
	entries := map[string]string{
		// External data is found below "/", by its absolute, symlink-free path: ONNX Runtime refuses absolute
		// locations and those that leave the folder.
		"session.model_external_initializers_file_folder_path": "/",
		"session.disable_prepacking":                           flag(!opts.Prepack),
		"session.use_env_allocators":                           flag(arena),
		"session.intra_op.allow_spinning":                      flag(!rt.cfg.NoSpin && !opts.NoSpin),
		// Sessions take turns: the threads of one must not spin while another computes.
		"session.force_spinning_stop": "1",
	}
	if !opts.FoldConstants {
		entries["optimization.disable_specified_optimizers"] = "ConstantFolding"
	}
	for key, value := range entries {
		if err == nil {
			err = o.AddSessionConfigEntry(key, value)
		}
	}
	for _, set := range []func() error{
		func() error { return o.SetIntraOpNumThreads(threads) },
		func() error { return o.SetInterOpNumThreads(1) }, // nodes run in order; each uses all threads
		func() error { return o.SetCpuMemArena(arena) },
		func() error { return o.SetMemPattern(false) }, // would reserve a second block of activations
		func() error { return o.SetGraphOptimizationLevel(levels[opts.Optimization]) },
	} {
		if err == nil {
			err = set()
		}
	}
	if err != nil {
		_ = o.Destroy()
		return nil, err
	}
	return o, nil
}

// checkPorts refuses what the binding could not run.
func (s *Session) checkPorts() error {
	if len(s.inputs) == 0 || len(s.output) == 0 {
		return fault.New("onnxruntime_session", s.name, "the model has %d inputs and %d outputs; it needs at least one of each", len(s.inputs), len(s.output))
	}
	for _, ports := range [][]graph.Port{s.inputs, s.output} {
		seen := map[string]bool{}
		for _, p := range ports {
			if seen[p.Name] {
				return fault.New("onnxruntime_session", s.name, "the port %q is there twice", p.Name)
			}
			seen[p.Name] = true
			if _, err := byteSize(p.DType, p.Shape); err != nil {
				return fault.New("onnxruntime_session", s.name, "the port %q cannot be run", p.Name).Because(err)
			}
			if half := p.DType == checkpoint.F16 || p.DType == checkpoint.BF16; half && len(p.Shape) == 0 {
				return fault.New("onnxruntime_session", s.name, "the port %q is a %s scalar, which cannot be passed; give it the shape [1]", p.Name, p.DType)
			}
		}
	}
	return nil
}

func (s *Session) refused(err error) error {
	return fault.New("onnxruntime_session", s.name,
		"ONNX Runtime %s does not accept the model %s; its weight files may be incomplete, or the library is not the tested %s",
		s.rt.Version(), s.name, LibraryVersion).Because(err)
}

func names(ports []graph.Port) []string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = p.Name
	}
	return list
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}
