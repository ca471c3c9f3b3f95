package graph

import (
	"slices"
	"strconv"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Stage is a part of a network that can be built as a model of its own. Values pass between stages by name.
type Stage struct {
	Name  string
	In    []string // values it reads: network inputs or results of earlier stages
	Out   []string // values it leaves, in the order Build returns them; a name may replace an earlier value
	Build func(g *Graph, in []Value) []Value
}

// Network is a chain of stages with static shapes.
type Network struct {
	Name    string
	Inputs  []Port
	Stages  []Stage
	Outputs []string
	State   []string // further results, which the next run of a network that works chunk by chunk reads under the same names
}

// Results are the names of all values that outlive a run.
func (n *Network) Results() []string { return slices.Concat(n.Outputs, n.State) }

// Join builds all stages as one model.
func (n *Network) Join(opts Options) (*Model, error) {
	return Build(n.Name, opts, func(g *Graph) {
		values := map[string]Value{}
		for _, p := range n.Inputs {
			values[p.Name] = g.Input(p.Name, p.DType, p.Shape...)
		}
		for _, s := range n.Stages {
			leave := g.Enter(s.Name)
			s.build(g, values)
			leave()
		}
		for _, name := range n.Results() {
			g.Output(name, values[name])
		}
	})
}

// Split builds each stage as a model of its own, its ports numbered in the order of In and Out. Models of stages that differ
// only in their weights and in the names of their values have equal bytes if opts.Weights is Bound.
func (n *Network) Split(opts Options) ([]*Model, error) {
	ports := map[string]Port{}
	for _, p := range n.Inputs {
		ports[p.Name] = p
	}
	models := make([]*Model, 0, len(n.Stages))
	for _, s := range n.Stages {
		m, err := Build(n.Name, opts, func(g *Graph) {
			values := map[string]Value{}
			for i, name := range s.In {
				p, ok := ports[name]
				if !ok {
					g.fail("stage %s reads %s, which no earlier stage leaves", s.Name, name)
				}
				values[name] = g.Input("in"+strconv.Itoa(i), p.DType, p.Shape...)
			}
			s.build(g, values)
			for i, name := range s.Out {
				g.Output("out"+strconv.Itoa(i), values[name])
			}
		})
		if err != nil {
			return nil, fault.New("graph_invalid", n.Name+"."+s.Name, "this part of the network cannot be built").Because(err)
		}
		for i, name := range s.Out {
			p := m.Outputs[i]
			ports[name] = Port{name, p.DType, p.Shape}
		}
		models = append(models, m)
	}
	return models, nil
}

func (s *Stage) build(g *Graph, values map[string]Value) {
	in := make([]Value, len(s.In))
	for i, name := range s.In {
		v, ok := values[name]
		if !ok {
			g.fail("reads %s, which no earlier stage leaves", name)
		}
		in[i] = v
	}
	out := s.Build(g, in)
	if len(out) != len(s.Out) {
		g.fail("leaves %d values, %d are named", len(out), len(s.Out))
	}
	for i, name := range s.Out {
		values[name] = out[i]
	}
}

// LastReads returns, for each stage, the names of values that no later stage reads and that are not results.
func (n *Network) LastReads() [][]string {
	seen := map[string]bool{}
	for _, name := range n.Results() {
		seen[name] = true
	}
	last := make([][]string, len(n.Stages))
	for i := len(n.Stages) - 1; i >= 0; i-- {
		s := n.Stages[i]
		for _, name := range s.Out {
			delete(seen, name) // later reads are of the value that this stage leaves
		}
		for _, name := range s.In {
			if !seen[name] {
				last[i] = append(last[i], name)
				seen[name] = true
			}
		}
	}
	return last
}
