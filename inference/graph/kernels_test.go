package graph_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// schema says of an operator which version of it the model's opset selects, and which argument carries each type
// parameter: an input by its index, a result as -1 minus its index. Parameters of arguments that no graph here has are left out.
type schema struct {
	since int
	types map[string]int
}

// first is the rule of most operators: T is the type of the first input.
var first = map[string]int{"T": 0}

// schemas are those of opset 22 and of com.microsoft 1, for the operators that graphs use.
var schemas = map[string]schema{
	"Add": {14, first}, "Sub": {14, first}, "Mul": {14, first}, "Div": {14, first}, "Max": {13, first}, "Clip": {13, first},
	"Sqrt": {13, first}, "Relu": {14, first}, "Gelu": {20, first}, "Softmax": {13, first},
	"ReduceMean": {18, first}, "ReduceL2": {18, first}, "MatMul": {13, first}, "Gemm": {13, first}, "Conv": {22, first},
	"Transpose": {21, first}, "Concat": {13, first}, "Split": {18, first}, "Expand": {13, first}, "Slice": {13, map[string]int{"T": 0, "Tind": 1}},
	"Identity": {21, map[string]int{"V": 0}}, "Reshape": {21, map[string]int{"T": 0, "shape": 1}},
	"Cast": {21, map[string]int{"T1": 0, "T2": -1}}, "Gather": {13, map[string]int{"T": 0, "Tind": 1}},
	"LayerNormalization": {17, first}, "SimplifiedLayerNormalization": {1, map[string]int{"T": 0, "V": 1}},
	"com.microsoft.QuickGelu": {1, first}, "com.microsoft.RotaryEmbedding": {1, map[string]int{"T": 0, "M": 1}},
	"com.microsoft.MultiHeadAttention": {1, first}, "com.microsoft.FusedMatMul": {1, first}, "com.microsoft.FastGelu": {1, first},
}

// kernel is a row of testdata/cuda_kernels.tsv.
type kernel struct {
	start, end int // no end: 0
	types      map[string][]string
}

// cudaKernels reads the list that ONNX Runtime's CUDA provider gave of itself, by domain and operator.
func cudaKernels(t *testing.T) map[string][]kernel {
	t.Helper()
	text, err := os.ReadFile("testdata/cuda_kernels.tsv")
	if err != nil {
		t.Fatal(err)
	}
	kernels := map[string][]kernel{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 5 {
			t.Fatalf("%d columns: %q", len(f), line)
		}
		k := kernel{types: map[string][]string{}}
		if k.start, err = strconv.Atoi(f[2]); err != nil {
			t.Fatal(err)
		}
		if f[3] != "" {
			if k.end, err = strconv.Atoi(f[3]); err != nil {
				t.Fatal(err)
			}
		}
		for constraint := range strings.SplitSeq(f[4], ";") {
			name, allowed, _ := strings.Cut(constraint, "=")
			k.types[name] = strings.Split(allowed, ",")
		}
		name := f[0]
		if f[1] != "" {
			name = f[1] + "." + name
		}
		kernels[name] = append(kernels[name], k)
	}
	return kernels
}

var typeNames = map[checkpoint.DType]string{checkpoint.F32: "float", checkpoint.F16: "float16", checkpoint.BF16: "bfloat16",
	checkpoint.I64: "int64", checkpoint.U8: "uint8", checkpoint.Bool: "bool"}

// runs reports whether the kernel is chosen for n. A kernel without an end serves its own version alone, not later ones
// (ONNX Runtime, KernelRegistry::VerifyVersion).
func (k kernel) runs(n graph.Node, s schema) bool {
	if k.start != s.since && (k.end == 0 || k.start > s.since || s.since > k.end) {
		return false
	}
	for parameter, at := range s.types {
		v := n.Out[0]
		if at >= 0 {
			v = n.In[at]
		}
		if allowed, ok := k.types[parameter]; ok && !slices.Contains(allowed, typeNames[v.DType]) {
			return false
		}
	}
	return true
}

// wantKernel fails the test if CUDA would leave n to the CPU.
func wantKernel(t *testing.T, kernels map[string][]kernel, n graph.Node) {
	t.Helper()
	name := n.Op
	if n.Domain != "" {
		name = n.Domain + "." + n.Op
	}
	s, known := schemas[name]
	if !known {
		t.Errorf("%s is an operator that no schema is written down for", name)
		return
	}
	if !slices.ContainsFunc(kernels[name], func(k kernel) bool { return k.runs(n, s) }) {
		t.Errorf("%s: CUDA has no kernel of %s-%d for %v", n.Path, name, s.since, n.In)
	}
}
