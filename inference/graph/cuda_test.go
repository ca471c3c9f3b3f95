package graph_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/wan"
)

// A clip of 97 frames at 832×480: 25 latent frames and one for a picture.
var clip = wan.Grid{Frames: 26, Height: 60, Width: 104}

const textTokens = 512

// subject is a network of published size in one flavour, and what its graphs may hold.
type subject struct {
	network *graph.Network
	models  int      // distinct ones
	casts   int      // per stage, at most; in 16 bits
	wide    []string // stages or paths whose float32 products are meant
}

// subjects are all networks of a clip, computing in dtype.
func subjects(t *testing.T, dtype checkpoint.DType) map[string]subject {
	t.Helper()
	v := publishedVAE(t)
	v.Compute = dtype
	all := map[string]subject{
		// Scores are float32, as in the original; 512² of them are nothing.
		"umt5":    {publishedUMT5(t).Network(textTokens), 3, 9, []string{"attn/MatMul"}},
		"whisper": {publishedWhisper(t).Network(), 6, 4, nil},
	}
	for name, chunk := range map[string]wan.Chunk{"first": wan.First, "next": wan.Next, "only": wan.Only} {
		all["vae encoder "+name] = subject{v.EncoderNetwork(clip.Height, clip.Width, chunk), 15, 4, nil}
		all["vae decoder "+name] = subject{v.DecoderNetwork(clip.Height, clip.Width, chunk), 15, 4, nil}
		all["vae pictures "+name] = subject{v.PictureNetwork(clip.Height, clip.Width, chunk), 15, 4, nil}
	}
	for _, variant := range []string{"1.7B", "17B"} {
		m := publishedDiT(t, variant)
		m.Compute = dtype
		all["text "+variant] = subject{m.TextKeysNetwork(), 2, 1, nil}
		all["audio "+variant] = subject{m.AudioKeysNetwork(clip.Frames), 2, 1, nil}
		// The original computes the time embedding and the head under autocast(float32).
		all["time "+variant] = subject{m.TimeNetwork(), 1, 0, []string{"time_embedding"}}
		all["start "+variant] = subject{m.StartNetwork(clip), 1, 12, nil}
		all["pass "+variant] = subject{m.PassNetwork(clip), 3, 12, []string{"head"}}
		all["block "+variant] = subject{m.BlockNetwork(0, clip, textTokens), 3, 12, nil}
	}
	return all
}

// TestCUDAGraphs looks at every graph that a GPU is given, at the size of a published clip.
func TestCUDAGraphs(t *testing.T) {
	kernels := cudaKernels(t)
	for _, dtype := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		for name, s := range subjects(t, dtype) {
			if strings.HasPrefix(name, "vae") && dtype == checkpoint.BF16 {
				continue // no such flavour: bf16 is too coarse for pictures, whose bytes it would move by ten
			}
			t.Run(fmt.Sprint(name, " ", dtype), func(t *testing.T) {
				models, err := s.network.Split(graph.Options{Weights: graph.Converted, Compute: dtype})
				if err != nil {
					t.Fatal(err)
				}
				distinct := map[string]bool{}
				for i, m := range models {
					if distinct[string(m.Bytes)] {
						continue
					}
					distinct[string(m.Bytes)] = true
					stage := s.network.Stages[i].Name
					for _, n := range m.Nodes {
						wantKernel(t, kernels, n)
						wantNoScores(t, n, name)
						wantNarrow(t, n, stage, s.wide, dtype)
					}
					wantFewCasts(t, m, stage, s.casts, dtype)
					wantNoData(t, m)
					wantBoundAs(t, m, stage, s.wide, dtype)
				}
				if len(distinct) > s.models {
					t.Errorf("%d stages are %d models, want %d", len(models), len(distinct), s.models)
				}
			})
		}
	}
}

// TestExternalGraphs: in one session, too, all weights stay in their files, and a bf16 checkpoint that is computed with in
// bf16 has none converted but where the reference computes in float32.
func TestExternalGraphs(t *testing.T) {
	m := publishedDiT(t, "17B")
	m.Compute = checkpoint.BF16
	model, err := m.PassNetwork(clip).Join(graph.Options{Compute: checkpoint.BF16})
	if err != nil {
		t.Fatal(err)
	}
	wantNoData(t, model)
	if len(model.Bytes) > 2<<20 {
		t.Errorf("a model of %d bytes holds more than nodes", len(model.Bytes))
	}
	for _, n := range model.Nodes {
		if n.Op != "Cast" {
			continue
		}
		if v := n.In[0]; v.DType == checkpoint.BF16 && len(v.Shape) == 2 && v.Dim(0) == m.Dim() {
			t.Errorf("%s widens the matrix %v", n.Path, v)
		}
	}
}

// wantNoScores: no value has two axes of tokens. Those of a text, 512, are allowed in its own encoder.
func wantNoScores(t *testing.T, n graph.Node, network string) {
	t.Helper()
	tokens := []int64{clip.Tokens(), clip.Tokens() / clip.Frames, clip.Height * clip.Width, 1500}
	if network != "umt5" {
		tokens = append(tokens, textTokens)
	}
	for _, v := range n.Out {
		axes := 0
		for _, d := range v.Shape {
			if slices.Contains(tokens, d) {
				axes++
			}
		}
		if axes > 1 {
			t.Errorf("%s leaves the scores %v", n.Path, v)
		}
	}
	if n.Op == "MultiHeadAttention" && len(n.In) > 3 && (network != "umt5" || n.In[0].DType != checkpoint.F32) {
		t.Errorf("%s has a bias or a mask, which the flash kernels do not take: %v", n.Path, n.In)
	}
}

// wantNarrow: products of matrices and convolutions run in dtype, but for those that are listed.
func wantNarrow(t *testing.T, n graph.Node, stage string, wide []string, dtype checkpoint.DType) {
	t.Helper()
	switch n.Op {
	case "Gemm", "MatMul", "FusedMatMul", "Conv", "MultiHeadAttention":
		meant := slices.ContainsFunc(wide, func(where string) bool { return stage == where || strings.Contains(n.Path, where) })
		if n.In[0].DType != dtype && !meant {
			t.Errorf("%s, %s: a product in %s", stage, n.Path, n.In[0].DType)
		}
	}
}

func wantFewCasts(t *testing.T, m *graph.Model, stage string, most int, dtype checkpoint.DType) {
	t.Helper()
	casts := 0
	for _, n := range m.Nodes {
		if n.Op == "Cast" {
			casts++
		}
	}
	if dtype == checkpoint.F32 {
		most = 1 // to a picture's bytes, or of an embedding's rows
	}
	if casts > most {
		t.Errorf("%s: %d Casts, want at most %d", stage, casts, most)
	}
}

// wantNoData: a model holds shapes and a few numbers, no weights.
func wantNoData(t *testing.T, m *graph.Model) {
	t.Helper()
	for _, v := range m.Inline {
		if size := v.Elements() * v.DType.Size(); size > 4096 {
			t.Errorf("%s holds a constant of %d bytes: %v", m.Name, size, v)
		}
	}
}

// wantBoundAs: whoever binds the weights converts the matrices, not the graph. Tables that are read row by row come as they
// are stored, and positions are added to the float32 stream.
func wantBoundAs(t *testing.T, m *graph.Model, stage string, wide []string, dtype checkpoint.DType) {
	t.Helper()
	gathers := slices.ContainsFunc(m.Nodes, func(n graph.Node) bool { return n.Op == "Gather" })
	for _, b := range m.Bound {
		meant := gathers || slices.Contains(wide, stage) || strings.HasSuffix(b.Tensor.Name, "embed_positions.weight")
		if b.Tensor.Elements() > 1<<16 && b.Port.DType != dtype && !meant {
			t.Errorf("%s: %s%v is bound as %s", stage, b.Tensor.Name, b.Tensor.Shape, b.Port.DType)
		}
	}
}
