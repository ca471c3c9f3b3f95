package parity

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// outputs are computed tensors by name.
type outputs map[string]array

// array is a computed tensor. raw, if set, is compared byte by byte instead of the numbers.
type array struct {
	shape []int64
	data  []float32
	raw   []byte
}

func floats(data []float32, shape ...int64) array { return array{shape: shape, data: data} }

// ints makes a vector of whole numbers.
func ints[T int | int64 | int32](values ...T) array {
	data := make([]float32, len(values))
	for i, v := range values {
		data[i] = float32(v)
	}
	return floats(data, int64(len(data)))
}

func bytesArray(values []byte, shape ...int64) array {
	data := make([]float32, len(values))
	for i, v := range values {
		data[i] = float32(v)
	}
	return floats(data, shape...)
}

// maxUnequalBytes is the share of 8-bit values that may differ at all.
const maxUnequalBytes = 0.02

// difference is how far a computed tensor is from the expected one.
type difference struct {
	maxAbs float64
	ratio  float64 // of maxAbs to the bound
	bound  string
	err    error // set if the tensor fails
}

func compare(c *testCase, name string, got outputs) difference {
	bad := func(format string, args ...any) difference {
		return difference{maxAbs: math.Inf(1), ratio: math.Inf(1), bound: "-", err: fmt.Errorf(format, args...)}
	}
	want, err := c.tensor(name)
	if err != nil {
		return bad("%v", err)
	}
	tol, err := c.tolerance(name)
	if err != nil {
		return bad("%v", err)
	}
	have, ok := got[name]
	if !ok {
		return bad("was not computed")
	}
	if !slices.Equal(have.shape, want.Shape) {
		return bad("has the shape %v, want %v", have.shape, want.Shape)
	}
	if have.raw != nil {
		raw, err := want.Raw()
		if err != nil {
			return bad("%v", err)
		}
		if !bytes.Equal(raw, have.raw) {
			return bad("bytes differ")
		}
		return difference{bound: "exact"}
	}
	data, err := want.Float32()
	if err != nil {
		return bad("%v", err)
	}
	return tol.judge(data, have.data, want.DType == checkpoint.U8)
}

// judge compares numbers. NaN is never within a bound.
func (t tolerance) judge(want, have []float32, bytes bool) difference {
	d := difference{bound: "exact"}
	unequal := 0
	for i := range want {
		e := math.Abs(float64(want[i]) - float64(have[i]))
		if math.IsNaN(e) {
			e = math.Inf(1)
		}
		if e != 0 {
			unequal++
		}
		d.maxAbs = max(d.maxAbs, e)
	}
	if t.exact {
		if d.maxAbs > 0 {
			d.ratio, d.err = math.Inf(1), fmt.Errorf("%d of %d values differ, by up to %.3g; they must be equal", unequal, len(want), d.maxAbs)
		}
		return d
	}
	d.ratio, d.bound = d.maxAbs/t.Abs, strconv.FormatFloat(t.Abs, 'g', 3, 64)
	if bytes && d.maxAbs <= t.Abs { // bytes differ by one or not at all: what tells is how many do
		d.ratio = float64(unequal) / (maxUnequalBytes * float64(len(want)))
	}
	switch {
	case !(d.maxAbs <= t.Abs):
		d.err = fmt.Errorf("max |a-b| is %.3g, the bound is %.3g", d.maxAbs, t.Abs)
	case bytes && float64(unequal) > maxUnequalBytes*float64(len(want)):
		d.err = fmt.Errorf("%d of %d bytes differ, at most %.0f %% may", unequal, len(want), 100*maxUnequalBytes)
	}
	return d
}
