package graph

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// A mistake while building comes back as an error with the module path; nothing else is recovered.
func TestBuildReportsMistakes(t *testing.T) {
	for _, test := range []struct {
		name string
		want string
		make func(g *Graph, x Value)
	}{
		{"broadcast", "does not broadcast", func(g *Graph, x Value) { g.Add(x, g.Zeros(3)) }},
		{"matmul", "matmul of", func(g *Graph, x Value) { g.MatMul(x, x) }},
		{"linear", "linear of", func(g *Graph, x Value) { g.Linear(x, g.Zeros(3, 5), Value{}) }},
		{"bias", "has bias", func(g *Graph, x Value) { g.Linear(x, g.Zeros(3, 4), g.Zeros(4)) }},
		{"reshape", "reshape of", func(g *Graph, x Value) { g.Reshape(x, 5, -1) }},
		{"expect", "want shape", func(g *Graph, x Value) { g.Expect(x, 2, -1, 1) }},
		{"slice", "slice [1:9]", func(g *Graph, x Value) { g.Slice(x, 1, 1, 9) }},
		{"split", "split of", func(g *Graph, x Value) { g.Split(x, 1, 3) }},
		{"concat", "concat of", func(g *Graph, x Value) { g.Concat(0, x, g.Zeros(2, 5)) }},
		{"dtype", "Add of", func(g *Graph, x Value) { g.Add(x, g.Int64s(1)) }},
		{"axis", "axis 2 of", func(g *Graph, x Value) { g.ReduceMean(x, 2) }},
		{"convolution", "exceeds the input", func(g *Graph, x Value) {
			g.Conv(g.Reshape(x, 1, 2, 4), g.Zeros(3, 2, 5), Value{}, ConvOptions{})
		}},
		{"attention", "attention of", func(g *Graph, x Value) {
			q := g.Reshape(x, 1, 2, 4)
			g.MultiHeadAttention(q, q, q, Value{}, 3, 1)
		}},
		{"weight", "never loaded", func(g *Graph, _ Value) { g.Weight(Weight{}) }},
		{"strided", "strided view", func(g *Graph, _ Value) {
			g.Weight(Weight{Tensor: &checkpoint.Tensor{Name: "w", DType: checkpoint.F32, Shape: []int64{2, 2}, Stride: []int64{1, 2}}})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Build("net", Options{}, func(g *Graph) {
				x := g.Input("x", checkpoint.F32, 2, 4)
				defer g.Enter("blocks.0")()
				defer g.Enter("ffn")()
				test.make(g, x)
			})
			if fault.CodeOf(err) != "graph_invalid" || !strings.Contains(err.Error(), "blocks.0.ffn: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	defer func() {
		if r := recover(); r != "a bug" {
			t.Errorf("a panic that is no mistake of building was swallowed: %v", r)
		}
	}()
	_, _ = Build("net", Options{}, func(*Graph) { panic("a bug") })
}

func block(name string, offset int64) Stage {
	w := Weight{Tensor: &checkpoint.Tensor{Name: name, DType: checkpoint.BF16, Shape: []int64{4, 4}, Stride: []int64{4, 1}, File: "/f", Offset: offset}}
	return Stage{Name: name, In: []string{"x"}, Out: []string{"x"}, Build: func(g *Graph, in []Value) []Value {
		return []Value{g.Linear(in[0], g.Weight(w), Value{})}
	}}
}

// Blocks that differ in their weights alone must give equal models when weights are bound: so they share a session.
func TestBoundStagesAreEqual(t *testing.T) {
	n := &Network{Name: "net", Inputs: []Port{{"x", checkpoint.F32, []int64{2, 4}}}, Outputs: []string{"x"},
		Stages: []Stage{block("blocks.0", 64), block("blocks.1", 128)}}
	bound, err := n.Split(Options{Weights: Bound})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bound[0].Bytes, bound[1].Bytes) {
		t.Error("bound models differ")
	}
	if a, b := bound[0].Bound[0].Tensor.Offset, bound[1].Bound[0].Tensor.Offset; a != 64 || b != 128 {
		t.Errorf("weights at %d and %d", a, b)
	}
	external, err := n.Split(Options{Weights: External})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(external[0].Bytes, external[1].Bytes) {
		t.Error("external models do not tell their weights apart")
	}
}

func TestLastReads(t *testing.T) {
	n := &Network{Outputs: []string{"y"}, State: []string{"cache"}, Stages: []Stage{
		{In: []string{"x", "cache", "table"}, Out: []string{"x", "cache"}},
		{In: []string{"x", "table"}, Out: []string{"x"}},
		{In: []string{"x"}, Out: []string{"y"}},
	}}
	want := [][]string{{"x", "cache"}, {"x", "table"}, {"x"}}
	if diff := cmp.Diff(want, n.LastReads()); diff != "" {
		t.Errorf("last reads (-want +got):\n%s", diff)
	}
}

func TestStageMustNameItsValues(t *testing.T) {
	n := &Network{Name: "net", Outputs: []string{"y"}, Stages: []Stage{{Name: "s", In: []string{"ghost"}, Out: []string{"y"}}}}
	if _, err := n.Split(Options{}); fault.CodeOf(err) != "graph_invalid" || !strings.Contains(err.Error(), "ghost") {
		t.Errorf("got %v", err)
	}
	if _, err := n.Join(Options{}); fault.CodeOf(err) != "graph_invalid" || !strings.Contains(err.Error(), "ghost") {
		t.Errorf("got %v", err)
	}
}
