package ort

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// ChainOptions say how a network is cut into sessions, where it runs and where its weights are.
type ChainOptions struct {
	// Join makes one session of all stages, its weights external data that ONNX Runtime maps. It is ignored where a
	// weight is stored in 16 bits (all of them would be widened at once) or is a strided view, where weights are
	// uploaded (see Compute), and for a network with State: then, as with Join false, each stage runs by itself, and
	// stages of equal structure share one session, at a cost of 0–2 %.
	Join bool
	// Decompose builds fused operators from standard ones; for tests.
	Decompose bool
	// Winograd is the least of 3×3 convolutions that take that form; for tests. In float32 on the host it is WinogradWherePays in
	// any case, but not with Decompose.
	Winograd graph.Winograd
	// Int8 computes in 8 bits the layers that allow it (nn.Linear.Int8); their weights are rounded in the first Run and take a
	// byte each in memory, beside the files, and all others are copied as well (CopiesOf). A network without such a layer is
	// built as ever. On the host alone, with Compute F32, and where the processor can (Int8Exact).
	Int8 bool
	// Session is how the sessions run; its Place is the chain's.
	Session SessionOptions

	// Place is where the sessions run, and where values stay between stages.
	Place Place

	// Compute is the type of the hot arithmetic, and must be the one that the network was made for: F32 (also the zero
	// value), F16 or BF16. On the host 16 bits are emulated: computed in float32 and rounded.
	//
	// In F32 on the host weights are bound from the mapped files as they lie, without a copy. In 16 bits, on a card and
	// with Groups they are converted and uploaded, to the Place's memory, in the first Run.
	Compute checkpoint.DType

	// Groups above 1 keeps two groups of neighbouring stages' weights on the Place instead of all: the stages are cut
	// into at most that many groups, as equal as they can be; while one runs, the next is uploaded. Runs take turns.
	Groups int

	// Shelf is where uploaded weights stay for other chains and after Close, unless Groups sends them away. nil: they
	// are freed with the chain.
	Shelf *Shelf

	// Keep names outputs of the network that Run leaves on the Place; all others come back to the host.
	Keep []string

	// StateOnHost keeps State in host memory between runs, where the Place's is short: it is copied there and back.
	StateOnHost bool
}

// options say how the network is built.
func (o ChainOptions) options() graph.Options {
	half := graph.Half(o.Compute)
	onHost := o.Place.Kind != CUDA // or in an Arena: the same provider
	g := graph.Options{Weights: graph.Bound, Decompose: o.Decompose, Compute: o.Compute, Emulate: half && onHost, Winograd: o.Winograd, Int8: o.Int8}
	if onHost && !half && !o.Decompose {
		g.Winograd = max(o.Winograd, graph.WinogradWherePays)
	}
	if half || o.Place.Kind != CPU || o.Groups > 1 || o.Int8 {
		g.Weights = graph.Converted
	}
	return g
}

// Chain is a network that is ready to run.
type Chain struct {
	name    string
	inputs  []graph.Port
	stages  []stage
	outputs []string
	state   []string
	keep    []string
	onHost  bool       // the state's place
	own     []*Session // each once
	weights supply
}

// stage is one session's turn: which values it reads and leaves.
type stage struct {
	session   *Session
	in, out   map[string]string // port → name of the value
	toHost    map[string]bool   // ports whose values leave the place at once
	lastReads []string
}

// NewChain builds n and creates its sessions. No weight is read: their files are mapped, or uploaded later.
func (rt *Runtime) NewChain(n *graph.Network, o ChainOptions) (*Chain, error) {
	if o.Int8 && (o.Place.Kind != CPU || graph.Half(o.Compute) || !Int8Exact()) {
		return nil, fault.New("int8_unsupported", n.Name,
			"8-bit layers run on a CPU with VNNI instructions, in float32; ask for full quality")
	}
	o.Session.Place = o.Place
	models, build, err := o.build(n)
	if err != nil {
		return nil, err
	}
	c := &Chain{name: n.Name, inputs: n.Inputs, outputs: n.Outputs, state: n.State,
		keep: o.Keep, onHost: o.StateOnHost, weights: mapped{nil}}
	for _, name := range o.Keep {
		if !slices.Contains(n.Outputs, name) {
			return nil, fault.New("internal", n.Name, "the network has no output %s to keep", name)
		}
	}
	if o.Join && build.Weights == graph.Bound && len(n.State) == 0 && joinable(models) {
		err = c.join(rt, n, o)
	} else if err = c.split(rt, n, models, o); err == nil {
		err = c.supply(rt, models, o, build.Weights)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// build builds the stages of n.
func (o ChainOptions) build(n *graph.Network) ([]*graph.Model, graph.Options, error) {
	build := o.options()
	models, err := n.Split(build)
	if err == nil && o.Int8 && rounded(models) == 0 {
		o.Int8 = false
		return o.build(n)
	}
	return models, build, err
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
	build := o.options()
	build.Weights = graph.External
	m, err := n.Join(build)
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
		st := stage{session: s, in: map[string]string{}, out: map[string]string{}, toHost: map[string]bool{}, lastReads: lastReads[i]}
		for k, p := range m.Inputs {
			st.in[p.Name] = n.Stages[i].In[k]
		}
		for k, p := range m.Outputs {
			name := n.Stages[i].Out[k]
			st.out[p.Name] = name
			st.toHost[p.Name] = c.leaves(name) && untouched(name, n.Stages[i+1:])
		}
		c.stages = append(c.stages, st)
	}
	return nil
}

// leaves reports whether a value lies on the host after a run.
func (c *Chain) leaves(name string) bool {
	if slices.Contains(c.state, name) {
		return c.onHost
	}
	return slices.Contains(c.outputs, name) && !slices.Contains(c.keep, name)
}

// untouched reports whether no stage reads or replaces a value.
func untouched(name string, stages []graph.Stage) bool {
	for _, s := range stages {
		if slices.Contains(s.In, name) || slices.Contains(s.Out, name) {
			return false
		}
	}
	return true
}

// supply chooses where the stages get their weights from.
func (c *Chain) supply(rt *Runtime, models []*graph.Model, o ChainOptions, mode graph.WeightMode) error {
	if mode == graph.Bound {
		m, err := mapWeights(models)
		c.weights = m
		return err
	}
	d, err := rt.device(o.Place)
	if err != nil {
		return err
	}
	if o.Groups > 1 {
		s, err := streamedWeights(d, models, o.Groups)
		if err != nil {
			return err
		}
		if s != nil {
			c.weights = s
			return nil
		}
	}
	r, err := residentWeights(d, o.Shelf, models)
	if err == nil {
		c.weights = r
	}
	return err
}

// Run runs the stages in order and returns the network's outputs, which the caller closes.
//
// in stays the caller's; its tensors may lie on the host or on the chain's Place. state is the memory of a network that
// works chunk by chunk (Network.State) and may be nil for others: the chain takes its inputs from there as well, closes
// such a tensor as soon as its last reader has run and puts the result of that name in its place; so old and new caches
// live side by side for one stage only. After an error the state is of no more use than being closed with CloseAll.
//
// Runs may overlap, except with ChainOptions.Groups, where one waits for the other.
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
	err := c.runAll(ctx, values, owned)
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

func (c *Chain) runAll(ctx context.Context, values map[string]*Tensor, owned map[string]bool) error {
	if err := c.weights.begin(ctx); err != nil {
		return c.stopped(err)
	}
	failed := true
	defer func() { c.weights.end(failed) }()
	for i, st := range c.stages {
		if err := c.runStage(ctx, i, st, values, owned); err != nil {
			return err
		}
	}
	for name, t := range values { // results that later stages have read
		if !owned[name] || t.device == nil || !c.leaves(name) {
			continue
		}
		host, err := t.ToHost(ctx)
		if err != nil {
			return err
		}
		values[name] = host
		if err := t.Close(); err != nil {
			return err
		}
	}
	failed = false
	return nil
}

func (c *Chain) runStage(ctx context.Context, i int, st stage, values map[string]*Tensor, owned map[string]bool) error {
	weights, err := c.weights.stage(ctx, i)
	if err != nil {
		if ctx.Err() != nil {
			err = c.stopped(ctx.Err())
		}
		return err
	}
	ports := make(map[string]*Tensor, len(st.in)+len(weights))
	for port, name := range st.in {
		ports[port] = values[name]
	}
	maps.Copy(ports, weights)
	results, err := st.session.run(ctx, ports, func(port string) bool { return !st.toHost[port] })
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
	return err
}

func (c *Chain) stopped(err error) error {
	return fmt.Errorf("the run of %s was stopped: %w", c.name, err)
}

// Close closes the sessions and gives up the weights. A run that is under way fails at its next stage.
func (c *Chain) Close() error {
	var err error
	for _, s := range c.own {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.weights.close())
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
