package ort

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// openRuntime opens the library that discovery finds; without one the test fails with the cure.
func openRuntime(t *testing.T, cfg Config) *Runtime {
	t.Helper()
	if cfg.Library == "" {
		cfg.Library = os.Getenv("ONNXRUNTIME_LIB")
	}
	rt, err := Open(cfg, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.InfoLevel))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
		if n := rt.native.live.Load(); n != 0 {
			t.Errorf("%d values and options of runs were not released", n)
		}
	})
	return rt
}

func newSession(t *testing.T, rt *Runtime, m *graph.Model, opts SessionOptions) *Session {
	t.Helper()
	s, err := rt.NewSession(m, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, s) })
	return s
}

func closeAll[T interface{ Close() error }](t *testing.T, things ...T) {
	t.Helper()
	for _, x := range things {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

// tensorOf unwraps the constructors: tensorOf(t)(FromFloat32s(…)).
func tensorOf(t *testing.T) func(*Tensor, error) *Tensor {
	return func(x *Tensor, err error) *Tensor {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeAll(t, x) })
		return x
	}
}

func floats(t *testing.T, shape []int64, data ...float32) *Tensor {
	t.Helper()
	return tensorOf(t)(FromFloat32s(shape, data))
}

// equalFloats compares exactly: the models of these tests compute with small integers.
func equalFloats(t *testing.T, got *Tensor, want ...float32) {
	t.Helper()
	if diff := cmp.Diff(want, got.Float32s()); diff != "" {
		t.Error(diff)
	}
}

// onnxTypes are the numbers of TensorProto.DataType.
var onnxTypes = map[checkpoint.DType]uint64{
	checkpoint.F32: 1, checkpoint.U8: 2, checkpoint.I8: 3, checkpoint.I16: 5, checkpoint.I32: 6, checkpoint.I64: 7,
	checkpoint.Bool: 9, checkpoint.F16: 10, checkpoint.F64: 11, checkpoint.BF16: 16,
}

// toy is a model written by hand.
type toy struct {
	graph.Model
	nodes, weights []byte
}

func (m *toy) in(name string, dtype checkpoint.DType, shape ...int64) *toy {
	m.Inputs = append(m.Inputs, graph.Port{Name: name, DType: dtype, Shape: shape})
	return m
}

func (m *toy) out(name string, dtype checkpoint.DType, shape ...int64) *toy {
	m.Outputs = append(m.Outputs, graph.Port{Name: name, DType: dtype, Shape: shape})
	return m
}

func (m *toy) bind(name string, w *checkpoint.Tensor, shape ...int64) *toy {
	m.Bound = append(m.Bound, graph.BoundWeight{Port: graph.Port{Name: name, DType: w.DType, Shape: shape}, Tensor: w})
	return m
}

// op adds a node: op("MatMul", "x w", "y"). attr is "to=1" or empty.
func (m *toy) op(kind, inputs, output, attr string) *toy {
	var node []byte
	for name := range strings.FieldsSeq(inputs) {
		node = text(node, 1, name)
	}
	node = text(text(node, 2, output), 4, kind)
	if key, value, ok := strings.Cut(attr, "="); ok {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			panic(err)
		}
		node = bytesField(node, 5, varint(varint(text(nil, 1, key), 3, n), 20, 2))
	}
	m.nodes = bytesField(m.nodes, 1, node)
	return m
}

// external adds a weight that lies in a file.
func (m *toy) external(name string, dtype checkpoint.DType, file string, offset, length int64, shape ...int64) *toy {
	var w []byte
	for _, d := range shape {
		w = varint(w, 1, uint64(d))
	}
	w = text(varint(w, 2, onnxTypes[dtype]), 8, name)
	for _, kv := range [][2]string{{"location", strings.TrimPrefix(file, "/")},
		{"offset", strconv.FormatInt(offset, 10)}, {"length", strconv.FormatInt(length, 10)}} {
		w = bytesField(w, 13, text(text(nil, 1, kv[0]), 2, kv[1]))
	}
	m.weights = bytesField(m.weights, 5, varint(w, 14, 1))
	return m
}

func (m *toy) build(name string) *graph.Model {
	m.Name = name
	g := text(append([]byte(nil), m.nodes...), 2, name)
	g = append(g, m.weights...)
	for _, p := range m.Inputs {
		g = bytesField(g, 11, valueInfo(p))
	}
	for _, w := range m.Bound {
		g = bytesField(g, 11, valueInfo(w.Port))
	}
	for _, p := range m.Outputs {
		g = bytesField(g, 12, valueInfo(p))
	}
	m.Bytes = varint(nil, 1, 10) // IR version
	m.Bytes = bytesField(m.Bytes, 7, g)
	m.Bytes = bytesField(m.Bytes, 8, varint(nil, 2, 22)) // opset
	return &m.Model
}

func valueInfo(p graph.Port) []byte {
	var shape []byte
	for _, d := range p.Shape {
		dim := varint(nil, 1, uint64(d))
		if d < 0 { // as exporters write an open one
			dim = text(nil, 2, "batch_size")
		}
		shape = bytesField(shape, 1, dim)
	}
	tensor := bytesField(varint(nil, 1, onnxTypes[p.DType]), 2, shape)
	return bytesField(text(nil, 1, p.Name), 2, bytesField(nil, 1, tensor))
}

func varint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func bytesField(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func text(b []byte, field protowire.Number, v string) []byte {
	return bytesField(b, field, []byte(v))
}

// weightFile writes data after offset bytes of filling and returns the resolved path.
func weightFile(t *testing.T, offset int, data []byte) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(path, "weights.bin")
	if err := os.WriteFile(path, append(make([]byte, offset), data...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
