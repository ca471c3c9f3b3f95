// Package graph builds ONNX models in memory. A Graph offers one method per operator; every method infers the
// shape and dtype of its result and checks its arguments, so a Value always knows what it is. Weights are references
// into checkpoint files ("external data") or inputs that the caller binds to such files; no weight is ever copied.
//
// A wrong shape while building is a mistake in the network's code or a checkpoint that does not fit it: it panics with
// the module path, and Build turns that panic, once, into an error. So layer code holds no "if err != nil".
//
// It knows no network, no tensor data and no ONNX Runtime.
package graph

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Value is a tensor of the graph that is being built. The zero Value means "absent".
type Value struct {
	name  string
	DType checkpoint.DType
	Shape []int64
}

// Absent reports whether v stands for nothing (an input that an operator may go without).
func (v Value) Absent() bool { return v.name == "" }

// Dim returns the size of axis i; negative axes count from the end.
func (v Value) Dim(i int) int64 {
	if i < 0 {
		i += len(v.Shape)
	}
	return v.Shape[i]
}

// Elements is the product of the shape.
func (v Value) Elements() int64 { return product(v.Shape) }

func (v Value) String() string { return fmt.Sprintf("%s%v", v.DType, v.Shape) }

// Options say how a graph is built.
type Options struct {
	Weights WeightMode
	// Decompose builds every fused operator from standard ones. It is the oracle of the fused form in tests and
	// materialises the scores of attention, so it never runs at video size.
	Decompose bool
	// Compute is the dtype of the hot arithmetic: F32, which the zero value stands for too, F16 or BF16. What a network
	// keeps in float32 beside it (residual streams, statistics, modulation) is the network's own choice.
	Compute checkpoint.DType
	// Emulate lowers the graph for a provider without 16-bit kernels: every 16-bit result is computed in float32 and
	// rounded to what 16 bits hold. Ports keep their dtypes.
	Emulate bool

	// Winograd says which 3×3 convolutions, of those that compute in float32, take the form of that name.
	Winograd Winograd
	// Int8 computes the layers that allow it (nn.Linear.Int8) in 8 bits, where they compute in float32. Weights must be
	// Converted.
	Int8 bool
}

// Winograd says where 3×3 convolutions are computed by products of transformed tiles (nn.CausalConv3D): on the CPU twice as fast,
// and off by less than 1e-5 of a typical result. Other providers choose such kernels by themselves.
type Winograd uint8

// Where.
const (
	WinogradNever     Winograd = iota
	WinogradWherePays          // where a convolution is large enough
	WinogradAlways             // for tests
)

// ComputeType is the dtype that a request for it stands for: the zero value means F32.
func ComputeType(dtype checkpoint.DType) checkpoint.DType {
	if dtype == checkpoint.Invalid {
		return checkpoint.F32
	}
	return dtype
}

// Half reports whether dtype has 16 bits.
func Half(dtype checkpoint.DType) bool { return dtype == checkpoint.F16 || dtype == checkpoint.BF16 }

// Graph is a model under construction.
type Graph struct {
	opts      Options
	path      []string
	nodes     []node
	inits     []initializer
	inputs    []Port
	outputs   []Port
	bound     []BoundWeight
	weights   map[weightKey]Value
	casts     map[castKey]Value
	constants map[string]Value
	values    map[string]Value  // everything that a node may read
	rename    map[string]string // internal name → output name
	next      int
}

type node struct {
	op, domain, name string
	in, out          []string
	attrs            []attr
}

// Build runs define on a new graph and encodes the result. A shape or dtype mistake comes back as a fault with the code
// "graph_invalid" and the module path in its text.
func Build(name string, opts Options, define func(g *Graph)) (m *Model, err error) {
	g := &Graph{opts: opts, weights: map[weightKey]Value{}, casts: map[castKey]Value{}, constants: map[string]Value{},
		values: map[string]Value{}, rename: map[string]string{}}
	defer func() {
		if r := recover(); r != nil {
			p, ours := r.(buildPanic)
			if !ours {
				panic(r)
			}
			m, err = nil, fault.New("graph_invalid", name, "the network does not fit its checkpoint or size: %s", string(p))
		}
	}()
	if t := g.ComputeType(); t != checkpoint.F32 && !Half(t) {
		g.fail("no arithmetic in %s; compute in F32, F16 or BF16", t)
	}
	define(g)
	if opts.Emulate {
		g.emulate()
	}
	return g.finish(name), nil
}

// buildPanic is what every check of this package panics with; only Build recovers it.
type buildPanic string

func (g *Graph) fail(format string, args ...any) {
	where := strings.Join(g.path, ".")
	if where != "" {
		where += ": "
	}
	panic(buildPanic(where + fmt.Sprintf(format, args...)))
}

// Enter adds name to the module path that errors and node names carry; the returned function leaves it again.
func (g *Graph) Enter(name string) (leave func()) {
	g.path = append(g.path, name)
	return func() { g.path = g.path[:len(g.path)-1] }
}

// Decomposed reports whether fused operators are to be built from standard ones.
func (g *Graph) Decomposed() bool { return g.opts.Decompose }

// Int8 reports whether layers that allow it compute in 8 bits.
func (g *Graph) Int8() bool { return g.opts.Int8 }

// Winograd says which 3×3 convolutions take the form of that name.
func (g *Graph) Winograd() Winograd { return g.opts.Winograd }

// ComputeType is the dtype of the hot arithmetic, never the zero value.
func (g *Graph) ComputeType() checkpoint.DType { return ComputeType(g.opts.Compute) }

// ToCompute converts x to the dtype of the hot arithmetic, ToFloat32 to float32; both are free where nothing changes.
func (g *Graph) ToCompute(x Value) Value { return g.Cast(x, g.ComputeType()) }

// ToFloat32 converts x to float32.
func (g *Graph) ToFloat32(x Value) Value { return g.Cast(x, checkpoint.F32) }

// Input declares a run-time input.
func (g *Graph) Input(name string, dtype checkpoint.DType, shape ...int64) Value {
	g.inputs = append(g.inputs, Port{name, dtype, slices.Clone(shape)})
	return g.known(Value{name, dtype, slices.Clone(shape)})
}

// Output makes v a result under the given name. The producing node itself carries the name: an Identity would be a
// copy, and is added only where v is an input, a weight or already an output.
func (g *Graph) Output(name string, v Value) {
	_, taken := g.rename[v.name]
	if taken || !g.produced(v.name) {
		v = g.op("Identity", "", v.DType, v.Shape, []Value{v})
	}
	g.rename[v.name] = name
	g.outputs = append(g.outputs, Port{name, v.DType, slices.Clone(v.Shape)})
}

func (g *Graph) produced(name string) bool {
	for i := len(g.nodes) - 1; i >= 0; i-- {
		if slices.Contains(g.nodes[i].out, name) {
			return true
		}
	}
	return false
}

// Expect checks v's shape against a comment that cannot rot; -1 stands for any size.
func (g *Graph) Expect(v Value, shape ...int64) Value {
	ok := len(shape) == len(v.Shape)
	for i := 0; ok && i < len(shape); i++ {
		ok = shape[i] == -1 || shape[i] == v.Shape[i]
	}
	if !ok {
		g.fail("want shape %v, have %v", shape, v.Shape)
	}
	return v
}

// known makes v a value that nodes may read.
func (g *Graph) known(v Value) Value {
	g.values[v.name] = v
	return v
}

func (g *Graph) fresh() string {
	g.next++
	return "v" + strconv.Itoa(g.next)
}

// op appends a node with one result.
func (g *Graph) op(op, domain string, dtype checkpoint.DType, shape []int64, in []Value, attrs ...attr) Value {
	return g.opN(op, domain, in, []Value{{DType: dtype, Shape: shape}}, attrs...)[0]
}

// opN appends a node with several results, whose names it fills in.
func (g *Graph) opN(op, domain string, in, out []Value, attrs ...attr) []Value {
	n := node{op: op, domain: domain, attrs: attrs, name: strings.Join(append(slices.Clone(g.path), op+strconv.Itoa(len(g.nodes))), "/")}
	for _, v := range in {
		n.in = append(n.in, v.name)
	}
	for len(n.in) > 0 && n.in[len(n.in)-1] == "" {
		n.in = n.in[:len(n.in)-1]
	}
	for i := range out {
		out[i].name = g.fresh()
		g.known(out[i])
		n.out = append(n.out, out[i].name)
	}
	g.nodes = append(g.nodes, n)
	return out
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}
