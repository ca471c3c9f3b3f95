package ort

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// ChainOptions say how a network is cut into sessions.
type ChainOptions struct {
	// Join makes one session of all stages, its weights external data that ONNX Runtime maps. It is ignored where a
	// weight is stored in 16 bits (all of them would be widened at once) or is a strided view: then, as with Join
	// false, each stage runs by itself with its weights bound from the mapped file, and stages of equal structure share
	// one session, at a cost of 0–2 %. A network with State cannot be joined.
	Join bool
	// Decompose builds fused operators from standard ones; for tests.
	Decompose bool
	Session   SessionOptions
}

// Chain is a network that is ready to run.
type Chain struct {
	name    string
	inputs  []graph.Port
	stages  []stage
	outputs []string
	state   []string
	own     []*Session // each once
	weights []*Tensor
}

// stage is one session's turn: which values it reads and leaves.
type stage struct {
	session   *Session
	in, out   map[string]string // port → name of the value
	weights   map[string]*Tensor
	lastReads []string
}

// NewChain builds n and creates its sessions. No weight is read: their files are mapped.
func (rt *Runtime) NewChain(n *graph.Network, o ChainOptions) (*Chain, error) {
	models, err := n.Split(graph.Options{Weights: graph.Bound, Decompose: o.Decompose})
	if err != nil {
		return nil, err
	}
	c := &Chain{name: n.Name, inputs: n.Inputs, outputs: n.Outputs, state: n.State}
	if o.Join && len(n.State) == 0 && joinable(models) {
		err = c.join(rt, n, o)
	} else {
		err = c.split(rt, n, models, o)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// joinable reports whether every weight can be external data that is computed with as it lies.
func joinable(models []*graph.Model) bool {
	for _, m := range models {
		for _, b := range m.Bound {
			if b.Tensor.DType != checkpoint.F32 || !b.Tensor.Contiguous() {
				return false
			}
		}
	}
	return true
}

func (c *Chain) join(rt *Runtime, n *graph.Network, o ChainOptions) error {
	m, err := n.Join(graph.Options{Weights: graph.External, Decompose: o.Decompose})
	if err != nil {
		return err
	}
	s, err := rt.NewSession(m, o.Session)
	if err != nil {
		return err
	}
	c.own = append(c.own, s)
	st := stage{session: s, in: map[string]string{}, out: map[string]string{}}
	for _, p := range m.Inputs {
		st.in[p.Name] = p.Name
		if !slices.Contains(n.Results(), p.Name) {
			st.lastReads = append(st.lastReads, p.Name)
		}
	}
	for _, p := range m.Outputs {
		st.out[p.Name] = p.Name
	}
	c.stages = []stage{st}
	return nil
}

func (c *Chain) split(rt *Runtime, n *graph.Network, models []*graph.Model, o ChainOptions) error {
	sessions := map[string]*Session{} // by model bytes
	lastReads := n.LastReads()
	for i, m := range models {
		s := sessions[string(m.Bytes)]
		if s == nil {
			var err error
			if s, err = rt.NewSession(m, o.Session); err != nil {
				return err
			}
			sessions[string(m.Bytes)] = s
			c.own = append(c.own, s)
		}
		st := stage{session: s, in: map[string]string{}, out: map[string]string{}, weights: map[string]*Tensor{}, lastReads: lastReads[i]}
		for k, p := range m.Inputs {
			st.in[p.Name] = n.Stages[i].In[k]
		}
		for k, p := range m.Outputs {
			st.out[p.Name] = n.Stages[i].Out[k]
		}
		for _, b := range m.Bound {
			t, err := MapWeight(b)
			if err != nil {
				return err
			}
			c.weights = append(c.weights, t)
			st.weights[b.Port.Name] = t
		}
		c.stages = append(c.stages, st)
	}
	return nil
}

// Run runs the stages in order and returns the network's outputs, which the caller closes.
//
// in stays the caller's. state is the memory of a network that works chunk by chunk (Network.State) and may be nil for
// others: the chain takes its inputs from there as well, closes such a tensor as soon as its last reader has run and puts
// the result of that name in its place; so old and new caches live side by side for one stage only. After an error the
// state is of no more use than being closed with CloseAll.
func (c *Chain) Run(ctx context.Context, in, state map[string]*Tensor) (map[string]*Tensor, error) {
	values, owned := map[string]*Tensor{}, map[string]bool{}
	for _, p := range c.inputs {
		values[p.Name] = in[p.Name]
		if t, ok := state[p.Name]; ok {
			values[p.Name], owned[p.Name] = t, true
		}
		if values[p.Name] == nil {
			return nil, fmt.Errorf("%s: the input %s is missing", c.name, p.Name)
		}
	}
	for name := range owned {
		delete(state, name)
	}
	err := c.run(ctx, values, owned)
	out := map[string]*Tensor{}
	for name, t := range values {
		switch {
		case !owned[name]:
		case err == nil && slices.Contains(c.state, name):
			state[name] = t
		case err == nil && slices.Contains(c.outputs, name):
			out[name] = t
		default:
			err = errors.Join(err, t.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, CloseAll(out))
	}
	return out, nil
}

func (c *Chain) run(ctx context.Context, values map[string]*Tensor, owned map[string]bool) error {
	for _, st := range c.stages {
		ports := make(map[string]*Tensor, len(st.in)+len(st.weights))
		for port, name := range st.in {
			ports[port] = values[name]
		}
		for port, t := range st.weights {
			ports[port] = t
		}
		results, err := st.session.Run(ctx, ports)
		if err != nil {
			return err
		}
		for _, name := range st.lastReads {
			if owned[name] {
				err = errors.Join(err, values[name].Close())
			}
			delete(values, name)
			delete(owned, name)
		}
		for port, name := range st.out {
			if owned[name] {
				err = errors.Join(err, values[name].Close())
			}
			values[name], owned[name] = results[port], true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close closes the sessions and gives up the mapped weights.
func (c *Chain) Close() error {
	var err error
	for _, s := range c.own {
		err = errors.Join(err, s.Close())
	}
	for _, t := range c.weights {
		err = errors.Join(err, t.Close())
	}
	c.own, c.weights, c.stages = nil, nil, nil
	return err
}

// CloseAll closes and removes every tensor of m.
func CloseAll(m map[string]*Tensor) error {
	var err error
	for name, t := range m {
		err = errors.Join(err, t.Close())
		delete(m, name)
	}
	return err
}

// Float32s returns a copy of an F32 result and closes all results: for networks with one small output.
func Float32s(results map[string]*Tensor, name string) ([]float32, error) {
	t, ok := results[name]
	if !ok || t.DType() != checkpoint.F32 {
		return nil, errors.Join(fault.New("internal", name, "the network left no such float32 result"), CloseAll(results))
	}
	data := slices.Clone(t.Float32s())
	return data, CloseAll(results)
}
