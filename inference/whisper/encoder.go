package whisper

import (
	"fmt"
	"math"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/nn"
)

// layers is the depth of Whisper-large-v3's encoder, which HuMo's bands are defined by.
const layers = 32

// bandStates is the number of hidden states that a band averages.
const bandStates = 8

// normEps is PyTorch's default epsilon of layer norms.
const normEps = 1e-5

// Encoder is the encoder of Whisper-large-v3 (Radford et al. 2022) under the names of Hugging Face's checkpoint.
// Reference: transformers, models/whisper/modeling_whisper.py.
type Encoder struct {
	Conv1    conv         `weight:"conv1"` // [d, mels, 3]
	Conv2    conv         `weight:"conv2"` // [d, d, 3]
	Position nn.Embedding `weight:"embed_positions"`
	Layers   []layer      `weight:"layers"`
	Norm     nn.LayerNorm `weight:"layer_norm"`

	heads int64
}

type conv struct {
	Weight graph.Weight `weight:"weight"`
	Bias   graph.Weight `weight:"bias"`
}

// Forward convolves x [1, C, columns].
func (c conv) Forward(g *graph.Graph, x graph.Value, o graph.ConvOptions) graph.Value {
	return g.Conv(x, g.WeightIn(x.DType, c.Weight), g.WeightIn(x.DType, c.Bias), o)
}

type layer struct {
	AttnNorm nn.LayerNorm  `weight:"self_attn_layer_norm"`
	Q        nn.Linear     `weight:"self_attn.q_proj"`
	K        nn.Projection `weight:"self_attn.k_proj"` // alone has no bias
	V        nn.Linear     `weight:"self_attn.v_proj"`
	O        nn.Linear     `weight:"self_attn.out_proj"`
	Norm     nn.LayerNorm  `weight:"final_layer_norm"`
	FC1      nn.Linear     `weight:"fc1"`
	FC2      nn.Linear     `weight:"fc2"`
}

// encoderPrefix is where the encoder's names start; the file holds a decoder too.
const encoderPrefix = "model.encoder."

// LoadEncoder reads the encoder's tensors off a checkpoint. The number of heads, which no shape tells, is given.
func LoadEncoder(ix *checkpoint.Index, heads int) (m *Encoder, unused []string, err error) {
	m = &Encoder{heads: int64(heads)}
	if unused, err = nn.Load(m, ix, encoderPrefix); err != nil {
		return nil, nil, err
	}
	if len(m.Layers) != layers {
		return nil, nil, fault.New("wrong_shape", ix.Path, "the encoder has %d layers, want %d (whisper-large-v3)", len(m.Layers), layers)
	}
	if len(m.Conv1.Weight.Shape) != 3 || len(m.Position.Weight.Shape) != 2 || m.Dim()%m.heads != 0 {
		return nil, nil, fault.New("wrong_shape", ix.Path, "conv1 has the shape %v and embed_positions %v with %d heads; this is not whisper-large-v3",
			m.Conv1.Weight.Shape, m.Position.Weight.Shape, m.heads)
	}
	return m, unused, nn.Fit(ix.Path, m.Network())
}

// Dim is the width C of a hidden state.
func (m *Encoder) Dim() int64 { return m.Conv1.Weight.Shape[0] }

// Positions is the number of rows that a window gives: 1500 for 30 seconds.
func (m *Encoder) Positions() int64 { return m.Position.Weight.Shape[0] }

func (m *Encoder) mels() int64 { return m.Conv1.Weight.Shape[1] }

// BandName is the name of the network's k-th result.
func BandName(k int) string { return fmt.Sprintf("band%d", k) }

// Network encodes one window: "mel" [mels, 2·positions] gives "band0" … "band4", each [positions, C]: the means of
// hidden states 0–7, 8–15, 16–23 and 24–31, and state 32. State 0 is the stem's output, state i that of layer i, and
// state 32 is normalised (reference: output_hidden_states).
func (m *Encoder) Network() *graph.Network {
	n := &graph.Network{
		Name:   "whisper",
		Inputs: []graph.Port{{Name: "mel", DType: checkpoint.F32, Shape: []int64{m.mels(), 2 * m.Positions()}}},
		Stages: []graph.Stage{{Name: "stem", In: []string{"mel"}, Out: []string{"x", "sum"},
			Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
				x := m.stem(g, in[0])
				return []graph.Value{x, x}
			}}},
	}
	for i := range m.Layers {
		l, state := &m.Layers[i], i+1
		s := graph.Stage{Name: fmt.Sprintf("layers.%d", i), In: []string{"x"}, Out: []string{"x", "sum"}}
		switch {
		case state == layers:
			s.Out = []string{BandName(Bands - 1)}
			s.Build = func(g *graph.Graph, in []graph.Value) []graph.Value {
				return []graph.Value{m.Norm.Forward(g, l.Forward(g, in[0], m.heads), normEps)}
			}
		case state%bandStates == 0:
			s.Build = func(g *graph.Graph, in []graph.Value) []graph.Value {
				x := l.Forward(g, in[0], m.heads)
				return []graph.Value{x, x}
			}
		default:
			s.In = []string{"x", "sum"}
			s.Build = func(g *graph.Graph, in []graph.Value) []graph.Value {
				x := l.Forward(g, in[0], m.heads)
				return []graph.Value{x, g.Add(in[1], x)}
			}
		}
		n.Stages = append(n.Stages, s)
		if state%bandStates == bandStates-1 {
			n.Stages = append(n.Stages, mean(BandName(state/bandStates)))
		}
	}
	for k := range Bands {
		n.Outputs = append(n.Outputs, BandName(k))
	}
	return n
}

func mean(name string) graph.Stage {
	return graph.Stage{Name: name, In: []string{"sum"}, Out: []string{name}, Build: func(g *graph.Graph, in []graph.Value) []graph.Value {
		return []graph.Value{g.Mul(in[0], g.Scalar(1.0/bandStates))}
	}}
}

// stem turns mel [mels, 2·P] into tokens [P, C]: two convolutions, the second of stride 2, and learned positions.
func (m *Encoder) stem(g *graph.Graph, mel graph.Value) graph.Value {
	x := g.ToCompute(g.Reshape(mel, 1, mel.Shape[0], mel.Shape[1]))
	x = nn.Gelu(g, m.Conv1.Forward(g, x, graph.ConvOptions{Pads: []int64{1, 1}}))
	x = nn.Gelu(g, m.Conv2.Forward(g, x, graph.ConvOptions{Strides: []int64{2}, Pads: []int64{1, 1}}))
	x = g.Transpose(g.Reshape(x, x.Shape[1], x.Shape[2]), 1, 0)
	return g.Add(g.ToFloat32(x), g.Weight(m.Position.Weight))
}

// Forward maps the residual stream x [P, C], float32, to [P, C]. All positions are attended, the silence that pads a window too.
func (l *layer) Forward(g *graph.Graph, x graph.Value, heads int64) graph.Value {
	c := x.Dim(-1)
	y := g.ToCompute(l.AttnNorm.Forward(g, x, normEps))
	row := func(v graph.Value) graph.Value { return g.Reshape(v, 1, x.Shape[0], c) }
	scale := float32(1 / math.Sqrt(float64(c/heads)))
	a := nn.Attention(g, row(l.Q.Forward(g, y)), row(l.K.Forward(g, y)), row(l.V.Forward(g, y)), graph.Value{}, heads, scale)
	x = g.Add(x, g.ToFloat32(l.O.Forward(g, g.Reshape(a, x.Shape...))))
	y = g.ToCompute(l.Norm.Forward(g, x, normEps))
	return g.Add(x, g.ToFloat32(l.FC2.Forward(g, nn.Gelu(g, l.FC1.Forward(g, y)))))
}
