package ort

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

func stored(file string, offset int64, dtype checkpoint.DType, stride []int64, shape ...int64) *checkpoint.Tensor {
	if stride == nil {
		stride = make([]int64, len(shape))
		for i, n := len(shape)-1, int64(1); i >= 0; i-- {
			stride[i] = n
			n *= shape[i]
		}
	}
	return &checkpoint.Tensor{Name: "w", DType: dtype, Shape: shape, Stride: stride, File: file, Offset: offset}
}

func TestMapping(t *testing.T) {
	file := weightFile(t, 4097, bytesOf([]float32{1, 2, 3, 4, 5, 6}))
	m, err := MapFile(file)
	if err != nil {
		t.Fatal(err)
	}
	same, err := MapFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(regions) != 1 {
		t.Errorf("%d regions", len(regions))
	}
	x, err := m.Tensor(stored(file, 4097, checkpoint.F32, nil, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	y, err := same.Tensor(stored(file, 4097, checkpoint.F32, nil, 6))
	if err != nil {
		t.Fatal(err)
	}
	if &x.Bytes()[0] != &y.Bytes()[0] {
		t.Error("two mappings of a file do not share their pages")
	}
	scalar, err := m.Tensor(stored(file, 4101, checkpoint.F32, nil))
	if err != nil {
		t.Fatal(err)
	}
	equalFloats(t, scalar, 2)
	none, err := m.Tensor(stored(file, 4121, checkpoint.F32, nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	equalFloats(t, none, []float32{}...)
	transposed, err := m.Tensor(stored(file, 4097, checkpoint.F32, []int64{1, 3}, 3, 2))
	if err != nil {
		t.Fatal(err)
	}
	equalFloats(t, transposed, 1, 4, 2, 5, 3, 6)
	closeAll(t, m, m, same)
	if _, err := m.Tensor(stored(file, 0, checkpoint.F32, nil)); err == nil {
		t.Error("a closed Mapping gives tensors")
	}
	equalFloats(t, x, 1, 2, 3, 4, 5, 6) // a tensor keeps the pages
	closeAll(t, x, x, y, scalar, none, transposed)
	if len(regions) != 0 {
		t.Errorf("%d files stay mapped", len(regions))
	}
}

// TestMappingAfterRename: a file that was replaced is another file, while tensors of the old one live on.
func TestMappingAfterRename(t *testing.T) {
	file := weightFile(t, 0, []byte{1})
	old := tensorOf(t)(MapTensor(stored(file, 0, checkpoint.U8, nil, 1)))
	if err := os.Rename(weightFile(t, 0, []byte{2}), file); err != nil {
		t.Fatal(err)
	}
	replaced := tensorOf(t)(MapTensor(stored(file, 0, checkpoint.U8, nil, 1)))
	if diff := cmp.Diff([]byte{1, 2}, append(append([]byte{}, old.Bytes()...), replaced.Bytes()...)); diff != "" {
		t.Error(diff)
	}
}

func TestMappingErrors(t *testing.T) {
	file := weightFile(t, 0, make([]byte, 24))
	port := func(dtype checkpoint.DType, shape ...int64) func() (*Tensor, error) {
		return func() (*Tensor, error) {
			w := graph.BoundWeight{Port: graph.Port{Name: "w", DType: dtype, Shape: shape}, Tensor: stored(file, 0, checkpoint.F32, nil, 2, 3)}
			return MapWeight(w)
		}
	}
	tensor := func(file string, offset int64, shape ...int64) func() (*Tensor, error) {
		return func() (*Tensor, error) { return MapTensor(stored(file, offset, checkpoint.F32, nil, shape...)) }
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, code, want string
		make             func() (*Tensor, error)
	}{
		{"missing", "checkpoint_unreadable", "no such file", tensor(file+"x", 0, 1)},
		{"a folder", "checkpoint_unreadable", "not a regular file", tensor(filepath.Dir(file), 0, 1)},
		{"truncated", "checkpoint_truncated", "takes 24 bytes, but the file has 24 in all", tensor(file, 1, 6)},
		{"empty", "checkpoint_truncated", "the file has 0 in all", tensor(empty, 0, 6)},
		{"negative offset", "checkpoint_truncated", "at -1", tensor(file, -1, 6)},
		{"overflow", "onnxruntime_tensor", "larger than any memory", tensor(file, 0, 1<<32, 1<<32)},
		{"negative shape", "onnxruntime_tensor", "negative dimension", tensor(file, 0, -6)},
		{"dtype of the port", "onnxruntime_tensor", "the port takes BF16, the checkpoint holds w F32[2 3]", port(checkpoint.BF16, 6)},
		{"shape of the port", "onnxruntime_tensor", "the port's shape [7] takes 28 bytes, the checkpoint holds 24", port(checkpoint.F32, 7)},
	} {
		x, err := c.make()
		if x != nil || fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", c.name, x, err)
		}
	}
	m, err := MapFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, m)
	if _, err := m.Tensor(stored(empty, 0, checkpoint.F32, nil)); err == nil || !strings.Contains(err.Error(), "does not lie in the mapped file") {
		t.Errorf("err = %v", err)
	}
	w := tensorOf(t)(port(checkpoint.F32, 3, 2)()) // another shape over the same bytes is right
	if diff := cmp.Diff([]int64{3, 2}, w.Shape()); diff != "" {
		t.Error(diff)
	}
	closeAll(t, w)
	if len(regions) != 1 {
		t.Errorf("errors leave %d files mapped, want 1", len(regions))
	}
}

func TestTensors(t *testing.T) {
	data := []float32{1, 2}
	x := floats(t, []int64{2}, data...)
	x.Float32s()[0] = 7
	if data[0] != 7 || binary.LittleEndian.Uint32(x.Bytes()) != 0x40e00000 {
		t.Error("the views are not live")
	}
	x.Shape()[0] = 9
	if x.Shape()[0] != 2 {
		t.Error("Shape is no copy")
	}
	if y := tensorOf(t)(FromInt64s([]int64{1}, []int64{1})); y.Float32s() != nil || y.DType() != checkpoint.I64 {
		t.Error("I64 has a float view")
	}
	held := allocated.Load()
	z := tensorOf(t)(Zeros(checkpoint.BF16, []int64{3, 5}))
	if len(z.Bytes()) != 30 || allocated.Load() != held+30 {
		t.Errorf("%d bytes, %d allocated", len(z.Bytes()), allocated.Load()-held)
	}
	closeAll(t, z, z)
	if z.Bytes() != nil || allocated.Load() != held {
		t.Error("Close is not once and for all")
	}
	for want, make := range map[string]func() (*Tensor, error){
		"F32[3] takes 12 bytes, got 8": func() (*Tensor, error) { return FromFloat32s([]int64{3}, data) },
		"F32[] takes 4 bytes, got 8":   func() (*Tensor, error) { return FromFloat32s(nil, data) },
		"the element type 0":           func() (*Tensor, error) { return NewTensor(checkpoint.Invalid, nil, nil) },
		"which the system does not":    func() (*Tensor, error) { return Zeros(checkpoint.U8, []int64{1 << 50}) },
		"larger than any memory":       func() (*Tensor, error) { return Zeros(checkpoint.U8, []int64{1 << 62, 4}) },
	} {
		if x, err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want %q", x, err, want)
		}
	}
}
