package ort

import (
	"errors"
	"strings"
	"sync"
	"time"

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

// SessionOptions say how one model runs. The zero value is right for a model whose weights lie in mapped files: it
// copies none of them.
type SessionOptions struct {
	// Place is where it runs; the zero value is the host's processor.
	Place Place

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
	device *device
	name   string
	inputs []graph.Port // with the bound weights
	output []graph.Port

	mu      sync.RWMutex // held for reading by runs, for writing by Close
	session nativeSession
	ports   []nativeName // of inputs, then of output
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
	var err error
	if s.device, err = rt.device(opts.Place); err != nil {
		return nil, err
	}
	if s.session, err = s.create(m, rt.settings(opts)); err != nil {
		return nil, err
	}
	s.ports = cNames(append(names(s.inputs), names(s.output)...))
	rt.sessions.Add(1)
	rt.log.Debug().Str("model", m.Name).Stringer("place", opts.Place).Int("bytes", len(m.Bytes)).Int("bound_weights", len(m.Bound)).
		Dur("took_ms", time.Since(began)).Msg("session is ready")
	return s, nil
}

// noFallback in the library's message means that a node has no kernel on the card.
const (
	noFallbackEntry = "session.disable_cpu_ep_fallback"
	noFallback      = "fallback to CPU EP has been explicitly disabled"
)

func (s *Session) create(m *graph.Model, o sessionSettings) (nativeSession, error) {
	session, err := s.rt.native.createSession(m.Bytes, o)
	if err != nil && o.cuda != nil && s.rt.cfg.CUDA.Fallback != "refuse" && strings.Contains(err.Error(), noFallback) {
		s.rt.log.Warn().Str("model", m.Name).Stringer("place", s.device.place).Err(err).
			Msg("some nodes have no kernel on this card and run on the processor, which may be slow; HUMO_CUDA_FALLBACK=refuse makes this an error")
		o.entries[noFallbackEntry] = "0"
		session, err = s.rt.native.createSession(m.Bytes, o)
	}
	if err != nil && o.cuda != nil && strings.Contains(err.Error(), noFallback) {
		return nil, fault.New("onnxruntime_session", s.name, "some nodes of the model %s have no kernel on %s; set HUMO_CUDA_FALLBACK=warn to run them on the processor",
			s.name, s.device.place).Because(err)
	}
	if _, missing := errors.AsType[*noCUDAError](err); missing {
		return nil, noCUDA(s.device.place, err)
	}
	if err != nil {
		return nil, s.refused(err)
	}
	return session, nil
}

// Close frees the session. It waits for the runs that are under way; end their contexts to hurry them.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		return nil
	}
	s.rt.native.releaseSession(s.session)
	freeNames(s.ports)
	s.session, s.ports = nil, nil
	s.rt.sessions.Add(-1)
	return nil
}

// settings are ONNX Runtime's own options. Why each is as it is was measured: see SessionOptions and Config.
func (rt *Runtime) settings(opts SessionOptions) sessionSettings {
	o := sessionSettings{threads: opts.Threads, arena: !rt.cfg.ArenaOff && !opts.ArenaOff, level: opts.Optimization}
	if o.threads == 0 {
		o.threads = rt.cfg.threads()
	}
	o.entries = map[string]string{
		// External data is found below "/", by its absolute, symlink-free path: ONNX Runtime refuses absolute
		// locations and those that leave the folder.
		"session.model_external_initializers_file_folder_path": "/",
		"session.disable_prepacking":                           flag(!opts.Prepack),
		"session.use_env_allocators":                           flag(o.arena),
		"session.intra_op.allow_spinning":                      flag(!rt.cfg.NoSpin && !opts.NoSpin),
		// Sessions take turns: the threads of one must not spin while another computes.
		"session.force_spinning_stop": "1",
	}
	if !opts.FoldConstants {
		o.entries["optimization.disable_specified_optimizers"] = "ConstantFolding"
	}
	if opts.Place.Kind == CUDA {
		o.cuda = rt.cfg.CUDA.options(opts.Place.Device)
		o.threads = 1 // they only launch kernels
		o.entries["session.use_env_allocators"] = "1"
		// Constants stay as long as the session and must not split the arena that its activations come from.
		o.entries["session.use_device_allocator_for_initializers"] = "1"
		o.entries[noFallbackEntry] = flag(rt.cfg.CUDA.Fallback != "allow")
	}
	return o
}

// checkPorts refuses what could not be run.
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
