package graph

import "github.com/humo-worker/humo-worker/inference/checkpoint"

// emulate lowers the graph for a provider without 16-bit kernels. Every node computes in float32 and its 16-bit results are
// rounded by a pair of Casts, which is what a kernel gives that adds up in float32. A 16-bit value that comes from outside
// (an input, a weight, a constant) is widened once; a Cast from 16 bits to float32 has nothing left to do.
func (g *Graph) emulate() {
	l := lowering{g: g, wide: map[string]string{}, narrow: map[string]bool{}}
	for name := range g.values {
		l.narrow[name] = true
	}
	nodes := g.nodes
	for _, n := range nodes {
		for _, name := range n.out {
			delete(l.narrow, name)
		}
	}
	g.nodes = nil
	for _, n := range nodes {
		l.lower(n)
	}
}

// lowering is the state of emulate.
type lowering struct {
	g      *Graph
	wide   map[string]string // value → the float32 value that stands for it
	narrow map[string]bool   // values that exist under their own names and dtypes
}

// moves are the operators that pass values on as they are: their results need no rounding.
var moves = map[string]bool{"Reshape": true, "Transpose": true, "Concat": true, "Split": true, "Slice": true, "Expand": true,
	"Identity": true}

func (l *lowering) lower(n node) {
	switch n.op {
	case "Cast":
		l.cast(n)
		return
	case "Gather": // runs in any dtype; widening its table for a few rows would be a waste
		n.in = []string{l.stored(n.in[0]), n.in[1]}
		l.emit(n)
		return
	}
	in, results := make([]string, len(n.in)), n.out
	for i, name := range n.in {
		in[i] = l.float(name)
	}
	n.in, n.out = in, make([]string, len(results))
	for i, name := range results {
		n.out[i] = name
		if v := l.g.values[name]; Half(v.DType) {
			n.out[i] = l.value(name+"/raw", v.Shape)
		}
	}
	l.emit(n)
	for i, name := range results {
		raw := n.out[i]
		_, output := l.g.rename[name]
		switch {
		case raw == name:
		case moves[n.op]:
			l.wide[name] = raw
			if output {
				l.stored(name)
			}
		default:
			l.convert(n.name+"/round", raw, name)
		}
	}
}

// cast keeps a conversion, but reads what stands for its argument. One that only widens is left out.
func (l *lowering) cast(n node) {
	from, to := l.g.values[n.in[0]], l.g.values[n.out[0]]
	if _, output := l.g.rename[to.name]; Half(from.DType) && to.DType == checkpoint.F32 && !output {
		l.wide[to.name] = l.float(from.name)
		return
	}
	n.in = []string{l.float(from.name)}
	l.emit(n)
}

// float is the float32 value that stands for a 16-bit one; other values stand for themselves.
func (l *lowering) float(name string) string {
	if w, ok := l.wide[name]; ok {
		return w
	}
	v := l.g.values[name]
	if !Half(v.DType) {
		return name
	}
	w := l.value(name+"/f32", v.Shape)
	l.convert(name+"/widen", name, w)
	l.wide[name] = w
	return w
}

// stored makes sure that a value exists in its own dtype.
func (l *lowering) stored(name string) string {
	if !l.narrow[name] {
		l.convert(name+"/narrow", l.wide[name], name)
	}
	return name
}

func (l *lowering) value(name string, shape []int64) string {
	return l.g.known(Value{name, checkpoint.F32, shape}).name
}

// convert adds a Cast of one value to another, whose dtype is known.
func (l *lowering) convert(node, from, to string) {
	l.emit(castNode(node, from, l.g.values[to]))
}

func (l *lowering) emit(n node) {
	l.g.nodes = append(l.g.nodes, n)
	for _, name := range n.out {
		l.narrow[name] = true
	}
}

func castNode(name, from string, to Value) node {
	dtype := attrInt("to", int64(onnxTypes[to.DType]))
	return node{op: "Cast", name: name, in: []string{from}, out: []string{to.name}, attrs: []attr{dtype}}
}
