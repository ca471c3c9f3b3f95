package umt5

import (
	"fmt"
	"math"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// normEps is the epsilon of the encoder's RMS norms.
const normEps = 1e-6

// Encoder is the encoder half of UMT5-XXL (Chung et al. 2023; Raffel et al. 2020) as Wan 2.1 stores it. Reference:
// wan/modules/t5.py.
type Encoder struct {
	Embedding nn.Embedding `weight:"token_embedding"`
	Blocks    []block      `weight:"blocks"`
	Norm      nn.RMSNorm   `weight:"norm"`
}

type block struct {
	Norm1    nn.RMSNorm    `weight:"norm1"`
	Attn     attention     `weight:"attn"`
	Position nn.Embedding  `weight:"pos_embedding.embedding"` // [buckets, heads]; every layer has its own
	Norm2    nn.RMSNorm    `weight:"norm2"`
	Gate     nn.Projection `weight:"ffn.gate.0"`
	FC1      nn.Projection `weight:"ffn.fc1"`
	FC2      nn.Projection `weight:"ffn.fc2"`
}

type attention struct {
	Q nn.Projection `weight:"q"`
	K nn.Projection `weight:"k"`
	V nn.Projection `weight:"v"`
	O nn.Projection `weight:"o"`
}

// LoadEncoder reads the encoder's tensors off a checkpoint; sizes come from their shapes.
func LoadEncoder(ix *checkpoint.Index) (m *Encoder, unused []string, err error) {
	m = new(Encoder)
	if unused, err = nn.Load(m, ix, ""); err != nil {
		return nil, nil, err
	}
	for _, w := range []graph.Weight{m.Embedding.Weight, m.Blocks[0].Position.Weight} {
		if len(w.Shape) != 2 {
			return nil, nil, fault.New("wrong_shape", ix.Path, "%s has the shape %v, want two axes; this is not a UMT5 encoder", w.Name, w.Shape)
		}
	}
	return m, unused, nn.Fit(ix.Path, m.Network(1))
}

// Dim is the width d of an embedding.
func (m *Encoder) Dim() int64 { return m.Embedding.Weight.Shape[1] }

// Vocabulary is the number of rows of the embedding table.
func (m *Encoder) Vocabulary() int64 { return m.Embedding.Weight.Shape[0] }

// Network encodes a text of a fixed number of tokens: "ids" [L] and "buckets" [L, L] (RelativeBuckets) give "embedding" [L, d]. The
// reference pads to 512 and cuts; padding is masked there, so leaving it out gives the same numbers.
func (m *Encoder) Network(tokens int64) *graph.Network {
	n := &graph.Network{
		Name: "umt5",
		Inputs: []graph.Port{
			{Name: "ids", DType: checkpoint.I64, Shape: []int64{tokens}},
			{Name: "buckets", DType: checkpoint.I64, Shape: []int64{tokens, tokens}},
		},
		Outputs: []string{"embedding"},
		Stages: []graph.Stage{{Name: "token_embedding", In: []string{"ids"}, Out: []string{"x"},
			Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
				return []graph.Value{m.Embedding.Forward(g, in[0])}
			}}},
	}
	for i := range m.Blocks {
		n.Stages = append(n.Stages, graph.Stage{Name: fmt.Sprintf("blocks.%d", i), In: []string{"x", "buckets"}, Out: []string{"x"},
			Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
				return []graph.Value{m.Blocks[i].Forward(g, in[0], in[1])}
			}})
	}
	n.Stages = append(n.Stages, graph.Stage{Name: "norm", In: []string{"x"}, Out: []string{"embedding"},
		Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
			return []graph.Value{m.Norm.Forward(g, in[0], normEps)}
		}})
	return n
}

// Forward maps the residual stream x [L, d], float32, to [L, d]; buckets is [L, L].
func (b *block) Forward(g *graph.Graph, x, buckets graph.Value) graph.Value {
	bias := b.Position.Forward(g, buckets) // [L, L, heads]
	heads := bias.Dim(-1)
	bias = g.Reshape(g.Transpose(bias, 2, 0, 1), 1, heads, x.Shape[0], x.Shape[0])
	y := b.Attn.Forward(g, g.ToCompute(b.Norm1.Forward(g, x, normEps)), bias, heads)
	x = g.Add(x, g.ToFloat32(y))
	y = g.ToCompute(b.Norm2.Forward(g, x, normEps))
	y = g.Mul(b.FC1.Forward(g, y), nn.GeluTanh(g, b.Gate.Forward(g, y)))
	return g.Add(x, g.ToFloat32(b.FC2.Forward(g, y)))
}

// Forward attends with a relative position bias and, as in all T5 models, without a scale.
func (a *attention) Forward(g *graph.Graph, x, bias graph.Value, heads int64) graph.Value {
	defer g.Enter("attn")()
	row := func(p nn.Projection) graph.Value {
		y := p.Forward(g, x)
		return g.Reshape(y, 1, y.Shape[0], y.Shape[1])
	}
	y := nn.Attention(g, row(a.Q), row(a.K), row(a.V), bias, heads, 1)
	return a.O.Forward(g, g.Reshape(y, x.Shape[0], -1))
}

// Bidirectional relative positions: 16 buckets a side, 8 of them exact, the others logarithmic up to a distance of 128.
const (
	buckets     = 32
	exact       = 8
	maxDistance = 128
)

// Bucket is the bucket of a key that lies relative positions after its query (T5, appendix; reference: T5RelativeEmbedding).
func Bucket(relative int) int64 {
	side, r := int64(0), -relative
	if relative > 0 {
		side, r = buckets/2, relative
	}
	if r < exact {
		return side + int64(r)
	}
	// The reference computes in float32 and truncates; float64 would put a few distances elsewhere.
	steps := float32(math.Log(float64(float32(r)/exact))) / float32(math.Log(maxDistance/exact)) * (buckets/2 - exact)
	return side + min(buckets/2-1, exact+int64(steps))
}

// RelativeBuckets is the table [L, L] of buckets for every query (row) and key (column).
func RelativeBuckets(tokens int) []int64 {
	table := make([]int64, 0, tokens*tokens)
	for q := range tokens {
		for k := range tokens {
			table = append(table, Bucket(k-q))
		}
	}
	return table
}
