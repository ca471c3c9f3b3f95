package ort

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Run computes the model's outputs, by port name, from its inputs, bound weights included. The caller closes the
// outputs, which lie on the host, and keeps the inputs: a Tensor may serve many runs, also at the same time. Inputs may lie
// on the host or on the session's Place; the host's are copied to a card for each run.
//
// When ctx ends, the run stops before its next node (so within the time of the longest one) and Run returns an error
// that wraps ctx.Err(); the session stays usable. Inputs that do not fit the model give code "onnxruntime_input", a
// failure in the library "onnxruntime_run".
func (s *Session) Run(ctx context.Context, in map[string]*Tensor) (map[string]*Tensor, error) {
	return s.run(ctx, in, func(string) bool { return false })
}

// run is Run with the outputs that stay on the session's Place.
func (s *Session) run(ctx context.Context, in map[string]*Tensor, stays func(port string) bool) (map[string]*Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, s.stopped(err)
	}
	if err := s.checkInputs(in); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.session == nil {
		return nil, fault.New("onnxruntime_run", s.name, "the session is closed")
	}
	out, err := s.allocateOutputs(stays)
	if err != nil {
		return nil, err
	}
	if err := s.bindAndRun(ctx, in, out); err != nil {
		_ = CloseAll(out) // the run's error is the one to tell
		return nil, err
	}
	return out, nil
}

// bindAndRun lends the memory of all tensors to the library for the length of one run.
func (s *Session) bindAndRun(ctx context.Context, in, out map[string]*Tensor) (err error) {
	l := loan{native: s.rt.native}
	defer func() {
		if e := l.end(); err == nil && e != nil {
			err = s.failed(e)
		}
	}()
	for _, ports := range []struct {
		of      []graph.Port
		tensors map[string]*Tensor
	}{{s.inputs, in}, {s.output, out}} {
		for _, p := range ports.of {
			if err := l.lend(ports.tensors[p.Name]); err != nil {
				return s.failed(fmt.Errorf("port %q: %w", p.Name, err))
			}
		}
	}
	return s.call(ctx, l.values)
}

// call is the call into C. Options belong to one run, so a late stop cannot reach the next.
func (s *Session) call(ctx context.Context, values []nativeValue) error {
	n := s.rt.native
	options, err := n.newRun(nil)
	if err != nil {
		return s.failed(err)
	}
	defer n.releaseRun(options)
	stopping := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopping)
		n.terminate(options)
	})
	s.rt.busy.begin()
	err = n.run(s.session, options, s.ports, values, len(s.inputs))
	s.rt.busy.end()
	if !unhook() {
		<-stopping // it still holds the options
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return s.stopped(ctx.Err())
	}
	return s.failed(err)
}

func (s *Session) allocateOutputs(stays func(port string) bool) (map[string]*Tensor, error) {
	out := make(map[string]*Tensor, len(s.output))
	for _, p := range s.output {
		var t *Tensor
		var err error
		if stays(p.Name) {
			t, err = s.device.newTensor(p.DType, p.Shape)
		} else {
			t, err = Zeros(p.DType, p.Shape)
		}
		if err != nil {
			_ = CloseAll(out) // the allocation's error is the one to tell
			return nil, err
		}
		out[p.Name] = t
	}
	return out, nil
}

// checkInputs compares the inputs with the model and tells all differences at once.
func (s *Session) checkInputs(in map[string]*Tensor) error {
	var wrong []string
	known := make(map[string]bool, len(s.inputs))
	for _, p := range s.inputs {
		known[p.Name] = true
		switch t := in[p.Name]; {
		case t == nil:
			wrong = append(wrong, fmt.Sprintf("%q wants %s%v, got nothing", p.Name, p.DType, p.Shape))
		case t.dtype != p.DType || !slices.Equal(t.shape, p.Shape):
			wrong = append(wrong, fmt.Sprintf("%q wants %s%v, got %s%v", p.Name, p.DType, p.Shape, t.dtype, t.shape))
		case t.device != nil && t.device != s.device:
			wrong = append(wrong, fmt.Sprintf("%q lies on %s, the session runs on %s", p.Name, t.Place(), s.device.place))
		}
	}
	var unknown []string
	for name := range in {
		if !known[name] {
			unknown = append(unknown, fmt.Sprintf("%q is no input of the model", name))
		}
	}
	sort.Strings(unknown)
	if wrong = append(wrong, unknown...); len(wrong) == 0 {
		return nil
	}
	return fault.New("onnxruntime_input", s.name, "inputs that do not fit: %s", strings.Join(wrong, "; "))
}

func (s *Session) stopped(err error) error {
	return fmt.Errorf("the run of %s was stopped: %w", s.name, err)
}

func (s *Session) failed(err error) error {
	if text := err.Error(); strings.Contains(text, "Failed to allocate memory") || strings.Contains(text, "bad_alloc") {
		return fault.New("out_of_memory", s.name, "the system gives the model %s not enough memory; ask for a smaller or shorter video", s.name).
			Because(err)
	}
	return fault.New("onnxruntime_run", s.name, "ONNX Runtime failed to run the model %s", s.name).Because(err)
}
