package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// place is where networks run, and in which type.
type place struct {
	rt    *ort.Runtime
	where ort.Place
	dtype checkpoint.DType
}

// runner is a small network with its inputs, ready to be timed: what it reads lies where it runs, and what it makes is one
// row.
type runner struct {
	flop  float64
	chain *ort.Chain
	in    map[string]*ort.Tensor
	bytes int64 // of what it reads
}

// runner makes the sessions of a network of one stage and zeros as its inputs.
func (p place) runner(ctx context.Context, name string, flop float64, shapes map[string][]int64,
	build func(g *graph.Graph, in map[string]graph.Value) graph.Value) (r *runner, err error) {
	r = &runner{flop: flop, in: map[string]*ort.Tensor{}}
	defer func() {
		if err != nil {
			r, err = nil, errors.Join(err, r.Close())
		}
	}()
	n := &graph.Network{Name: name, Outputs: []string{"result"}}
	stage := graph.Stage{Name: name, Out: n.Outputs}
	for _, input := range slices.Sorted(maps.Keys(shapes)) {
		n.Inputs = append(n.Inputs, graph.Port{Name: input, DType: graph.ComputeType(p.dtype), Shape: shapes[input]})
		stage.In = append(stage.In, input)
	}
	stage.Build = func(g *graph.Graph, in []graph.Value) []graph.Value {
		values := map[string]graph.Value{}
		for i, input := range stage.In {
			values[input] = in[i]
		}
		return []graph.Value{g.ToFloat32(g.Slice(build(g, values), 0, 0, 1))}
	}
	n.Stages = []graph.Stage{stage}
	if r.chain, err = p.rt.NewChain(n, ort.ChainOptions{Place: p.where, Compute: p.dtype}); err != nil {
		return r, err
	}
	for input, shape := range shapes {
		t, err := p.random(ctx, shape)
		if err != nil {
			return r, err
		}
		r.in[input] = t
		r.bytes += t.Size()
	}
	return r, nil
}

// random is a tensor of small numbers where networks run. Zeros would be multiplied in less time: they cost a card less
// power, and the processor's caches hold all pages of zeros at once.
func (p place) random(ctx context.Context, shape []int64) (t *ort.Tensor, err error) {
	dtype := graph.ComputeType(p.dtype)
	host, err := ort.Zeros(dtype, shape)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	pattern := noise(dtype)
	for data := host.Bytes(); len(data) > 0; data = data[copy(data, pattern):] {
	}
	return p.rt.Upload(ctx, host, p.where)
}

// noise is a stretch of numbers of a type in [-1/32, 1/32), little endian.
func noise(dtype checkpoint.DType) (data []byte) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // any numbers do, the same in every run are best
	for range 1 << 18 {
		x := (random.Float32() - 0.5) / 16
		switch dtype {
		case checkpoint.F16:
			data = binary.LittleEndian.AppendUint16(data, weights.ToF16(x))
		case checkpoint.BF16:
			data = binary.LittleEndian.AppendUint16(data, weights.ToBF16(x))
		default:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
		}
	}
	return data
}

// Run runs it once and returns the seconds.
func (r *runner) Run(ctx context.Context) (float64, error) {
	began := time.Now()
	out, err := r.chain.Run(ctx, r.in, nil)
	seconds := time.Since(began).Seconds()
	return seconds, errors.Join(err, ort.CloseAll(out))
}

// Close frees it.
func (r *runner) Close() error {
	err := ort.CloseAll(r.in)
	if r.chain != nil {
		err = errors.Join(err, r.chain.Close())
	}
	return err
}

// products is what the machine does best: bare products of matrices as large as the transformer's, there and back, so that
// no other operator is needed in between.
func (p place) products(ctx context.Context, rows, width, inner int64) (*runner, error) {
	return p.runner(ctx, "products", 4*float64(rows)*float64(width)*float64(inner),
		map[string][]int64{"x": {rows, width}, "up": {width, inner}, "down": {inner, width}},
		func(g *graph.Graph, in map[string]graph.Value) graph.Value {
			return g.MatMul(g.MatMul(in["x"], in["up"]), in["down"])
		})
}

// attention is that of all tokens to all, [tokens, width] in heads of 128, without a projection.
func (p place) attention(ctx context.Context, tokens, width, headDim int64) (*runner, error) {
	shape := []int64{1, tokens, width}
	return p.runner(ctx, "attention", attentionFLOP(float64(tokens), float64(tokens), float64(width)),
		map[string][]int64{"q": shape, "k": shape, "v": shape},
		func(g *graph.Graph, in map[string]graph.Value) graph.Value {
			return g.Reshape(g.MultiHeadAttention(in["q"], in["k"], in["v"], graph.Value{}, width/headDim, 0), tokens, width)
		})
}

// linear is one layer of the feed-forward network, with its bias.
func (p place) linear(ctx context.Context, tokens, width, inner int64) (*runner, error) {
	return p.runner(ctx, "linear", 2*float64(tokens)*float64(width)*float64(inner),
		map[string][]int64{"x": {tokens, width}, "weight": {inner, width}, "bias": {inner}},
		func(g *graph.Graph, in map[string]graph.Value) graph.Value {
			return g.Linear(in["x"], in["weight"], in["bias"])
		})
}
