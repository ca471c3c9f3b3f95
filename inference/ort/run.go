package ort

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	binding "github.com/yalue/onnxruntime_go"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Run computes the model's outputs, by port name, from its inputs, bound weights included. The caller closes the
// outputs, and keeps the inputs: a Tensor may serve many runs, also at the same time.
//
// When ctx ends, the run stops before its next node (so within the time of the longest one) and Run returns an error
// that wraps ctx.Err(); the session stays usable. Inputs that do not fit the model give code "onnxruntime_input", a
// failure in the library "onnxruntime_run".
func (s *Session) Run(ctx context.Context, in map[string]*Tensor) (map[string]*Tensor, error) {
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
	out, err := s.allocateOutputs()
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx, in, out); err != nil {
		for _, t := range out {
			_ = t.Close() // the run's error is the one to tell
		}
		return nil, err
	}
	return out, nil
}

// run lends the memory of all tensors to the library for the length of one call.
func (s *Session) run(ctx context.Context, in, out map[string]*Tensor) (err error) {
	var l loan
	defer func() {
		if e := l.end(); err == nil && e != nil {
			err = s.failed(e)
		}
	}()
	inputs, err := lendAll(&l, s.inputs, in, false)
	if err != nil {
		return s.failed(err)
	}
	outputs, err := lendAll(&l, s.output, out, true)
	if err != nil {
		return s.failed(err)
	}
	if err := s.call(ctx, inputs, outputs); err != nil {
		return err
	}
	l.collect()
	return nil
}

// call is the call into C. Options belong to one run, so a late stop cannot reach the next.
func (s *Session) call(ctx context.Context, inputs, outputs []binding.Value) error {
	options, err := binding.NewRunOptions()
	if err != nil {
		return s.failed(err)
	}
	defer func() { _ = options.Destroy() }() // fails only if it was never made
	stopping := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopping)
		_ = options.Terminate() // sets a flag; it has no way to fail
	})
	err = s.session.RunWithOptions(inputs, outputs, options)
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

func (s *Session) allocateOutputs() (map[string]*Tensor, error) {
	out := make(map[string]*Tensor, len(s.output))
	for _, p := range s.output {
		t, err := Zeros(p.DType, p.Shape)
		if err != nil {
			for _, t := range out {
				_ = t.Close()
			}
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

func lendAll(l *loan, ports []graph.Port, tensors map[string]*Tensor, output bool) ([]binding.Value, error) {
	values := make([]binding.Value, len(ports))
	for i, p := range ports {
		v, err := l.lend(tensors[p.Name], output)
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", p.Name, err)
		}
		values[i] = v
	}
	return values, nil
}

func (s *Session) stopped(err error) error {
	return fmt.Errorf("the run of %s was stopped: %w", s.name, err)
}

func (s *Session) failed(err error) error {
	return fault.New("onnxruntime_run", s.name, "ONNX Runtime failed to run the model %s", s.name).Because(err)
}
