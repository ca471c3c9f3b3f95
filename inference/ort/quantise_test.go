package ort

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// prepared are the two halves of a matrix in 8 bits.
func prepared(t *testing.T, x *checkpoint.Tensor) (columns, scales weight) {
	t.Helper()
	out, in := x.Shape[0], x.Shape[1]
	columns, err := bound(graph.BoundWeight{Port: graph.Port{Name: "w", DType: checkpoint.I8, Shape: []int64{in, out}}, Tensor: x, Prepare: graph.Int8Columns})
	if err != nil {
		t.Fatal(err)
	}
	scales, err = bound(graph.BoundWeight{Port: graph.Port{Name: "s", DType: checkpoint.F32, Shape: []int64{out}}, Tensor: x, Prepare: graph.Int8Scales})
	if err != nil {
		t.Fatal(err)
	}
	return columns, scales
}

// TestQuantise: rows become columns of numbers in 8 bits, their largest ±127 and a row of zeros zero, from every type and layout.
func TestQuantise(t *testing.T) {
	rt := openRuntime(t, Config{})
	const rows, columns = 150, 37 // more than two rounds
	data := make([]float32, rows*columns)
	for i := range data {
		if row := i / columns; row != 5 {
			data[i] = float32(i%113-56) * float32(math.Exp2(float64(row%9)-4)) // exact in every type
		}
	}
	narrow := func(dtype checkpoint.DType) []byte {
		raw := make([]byte, 2*len(data))
		if x, ok := convert(raw, dtype, bytesOf(data), checkpoint.F32); !ok {
			t.Fatal(x)
		}
		return raw
	}
	shelf, err := rt.NewShelf(Place{})
	if err != nil {
		t.Fatal(err)
	}
	file := weightFile(t, 3, bytesOf(data))
	for _, x := range []*checkpoint.Tensor{
		stored(file, 3, checkpoint.F32, nil, rows, columns),
		stored(file, 3, checkpoint.F32, []int64{1, columns}, columns, rows),
		stored(weightFile(t, 2, narrow(checkpoint.F16)), 2, checkpoint.F16, nil, rows, columns),
		stored(weightFile(t, 2, narrow(checkpoint.BF16)), 2, checkpoint.BF16, nil, rows, columns),
	} {
		q, s := prepared(t, x)
		tensors, err := shelf.take(t.Context(), []weight{q, s})
		if err != nil {
			t.Fatal(err)
		}
		if size := q.size() + s.size(); size != rows*columns+4*x.Shape[0] {
			t.Errorf("%v takes %d bytes", x, size)
		}
		list, out, in := rowMajor(x, data), int(x.Shape[0]), int(x.Shape[1])
		rounded, scales := tensors[q.id()].Bytes(), tensors[s.id()].Float32s()
		for o := range out {
			row, largest := list[o*in:(o+1)*in], float32(1e-30)
			for _, v := range row {
				largest = max(largest, v, -v)
			}
			if scales[o] != largest/127 {
				t.Fatalf("%v: the scale of row %d is %g, want %g", x, o, scales[o], largest/127)
			}
			for i, v := range row {
				if got, want := float64(int8(rounded[i*out+o])), math.RoundToEven(float64(v/scales[o])); got != want {
					t.Fatalf("%v: [%d, %d] is %g, want %g", x, o, i, got, want)
				}
			}
		}
		shelf.give(tensors)
	}
	closeAll(t, shelf)
}

// TestInt8Refused: where 8 bits cannot be had, a chain says so before anything is loaded.
func TestInt8Refused(t *testing.T) {
	rt := openRuntime(t, Config{})
	for _, o := range []ChainOptions{{Int8: true, Compute: checkpoint.F16}, {Int8: true, Place: Place{Kind: Arena}}, {Int8: true, Place: Place{Kind: CUDA}}} {
		if _, err := rt.NewChain(deep(t, 2, 8, checkpoint.F32), o); fault.CodeOf(err) != "int8_unsupported" {
			t.Errorf("%+v: %v", o, err)
		}
	}
	matrix := stored(weightFile(t, 0, make([]byte, 64)), 0, checkpoint.F32, nil, 4, 4)
	for _, b := range []graph.BoundWeight{
		{Port: graph.Port{DType: checkpoint.I8, Shape: []int64{4, 5}}, Tensor: matrix, Prepare: graph.Int8Columns},
		{Port: graph.Port{DType: checkpoint.F32, Shape: []int64{4, 4}}, Tensor: matrix, Prepare: graph.Int8Columns},
		{Port: graph.Port{DType: checkpoint.F32, Shape: []int64{5}}, Tensor: matrix, Prepare: graph.Int8Scales},
		{Port: graph.Port{DType: checkpoint.I8, Shape: []int64{4, 4}}, Tensor: matrix},
	} {
		if _, err := bound(b); fault.CodeOf(err) != "onnxruntime_tensor" {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

// TestInt8Nothing: a network none of whose layers is for 8 bits is built as ever, from the mapped files.
func TestInt8Nothing(t *testing.T) {
	if !Int8Exact() {
		t.Skip("this processor has no VNNI instructions")
	}
	rt := openRuntime(t, Config{})
	n := deep(t, 3, 8, checkpoint.F32)
	if c, err := CopiesOf(n, n); err != nil || c != (Copies{}) {
		t.Errorf("%+v, %v", c, err)
	}
	var results [2][]float32
	for i, int8 := range []bool{false, true} {
		c := newChain(t, rt, n, ChainOptions{Int8: int8})
		state := zeroState(t, 8)
		out, err := c.Run(t.Context(), deepInput(t, 8), state)
		if err != nil {
			t.Fatal(err)
		}
		results[i] = slices.Clone(out["y"].Float32s())
		if err := errors.Join(CloseAll(out), CloseAll(state)); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(results[0], results[1]) || rt.Held(Place{}) != 0 {
		t.Errorf("%v and %v, %d bytes copied", results[0], results[1], rt.Held(Place{}))
	}
}
