package golden

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// Array is a computed tensor. Raw, if set, is compared byte by byte instead of the numbers.
type Array struct {
	Shape []int64
	Data  []float32
	Raw   []byte
}

// Floats makes an array of numbers.
func Floats(data []float32, shape ...int64) Array { return Array{Shape: shape, Data: data} }

// Ints makes a vector of whole numbers.
func Ints[T int | int64 | int32](values ...T) Array {
	data := make([]float32, len(values))
	for i, v := range values {
		data[i] = float32(v)
	}
	return Floats(data, int64(len(data)))
}

// Bytes makes an array of 8-bit values.
func Bytes(values []byte, shape ...int64) Array {
	data := make([]float32, len(values))
	for i, v := range values {
		data[i] = float32(v)
	}
	return Floats(data, shape...)
}

// maxUnequalBytes is the share of 8-bit values that may differ at all.
const maxUnequalBytes = 0.02

// Difference is how far a computed tensor is from the expected one.
type Difference struct {
	MaxAbs float64
	Ratio  float64 // of MaxAbs to the bound; for bytes, of the unequal ones to those that may be
	Bound  string
	Err    error // set if the tensor fails
}

// Compare holds a computed tensor against the case's tensor of that name: shape, then every value.
func (c *Case) Compare(name string, have Array) Difference {
	bad := func(format string, args ...any) Difference {
		return Difference{MaxAbs: math.Inf(1), Ratio: math.Inf(1), Bound: "-", Err: fmt.Errorf(format, args...)}
	}
	want, err := c.Tensor(name)
	if err != nil {
		return bad("%v", err)
	}
	tol, err := c.tolerance(name)
	if err != nil {
		return bad("%v", err)
	}
	if !slices.Equal(have.Shape, want.Shape) {
		return bad("has the shape %v, want %v", have.Shape, want.Shape)
	}
	if have.Raw != nil {
		raw, err := want.Raw()
		if err != nil {
			return bad("%v", err)
		}
		if !bytes.Equal(raw, have.Raw) {
			return bad("bytes differ")
		}
		return Difference{Bound: "exact"}
	}
	data, err := want.Float32()
	if err != nil {
		return bad("%v", err)
	}
	if len(have.Data) != len(data) {
		return bad("has %d values, want %d", len(have.Data), len(data))
	}
	return tol.judge(data, have.Data, want.DType == checkpoint.U8)
}

// judge compares numbers. NaN is never within a bound.
func (t tolerance) judge(want, have []float32, bytes bool) Difference {
	d := Difference{Bound: "exact"}
	unequal := 0
	for i := range want {
		e := math.Abs(float64(want[i]) - float64(have[i]))
		if math.IsNaN(e) {
			e = math.Inf(1)
		}
		if e != 0 {
			unequal++
		}
		d.MaxAbs = max(d.MaxAbs, e)
	}
	if t.exact {
		if d.MaxAbs > 0 {
			d.Ratio, d.Err = math.Inf(1), fmt.Errorf("%d of %d values differ, by up to %.3g; they must be equal", unequal, len(want), d.MaxAbs)
		}
		return d
	}
	d.Ratio, d.Bound = d.MaxAbs/t.Abs, strconv.FormatFloat(t.Abs, 'g', 3, 64)
	if bytes && d.MaxAbs <= t.Abs { // bytes differ by one or not at all: what tells is how many do
		d.Ratio = float64(unequal) / (maxUnequalBytes * float64(len(want)))
	}
	switch {
	case !(d.MaxAbs <= t.Abs):
		d.Err = fmt.Errorf("max |a-b| is %.3g, the bound is %.3g", d.MaxAbs, t.Abs)
	case bytes && float64(unequal) > maxUnequalBytes*float64(len(want)):
		d.Err = fmt.Errorf("%d of %d bytes differ, at most %.0f %% may", unequal, len(want), 100*maxUnequalBytes)
	}
	return d
}

// RelativeL2 is ‖have − want‖ / ‖want‖; infinite for vectors that cannot be compared.
func RelativeL2(have, want []float32) float64 {
	if len(have) != len(want) || len(want) == 0 {
		return math.Inf(1)
	}
	var difference, size float64
	for i, w := range want {
		d := float64(have[i]) - float64(w)
		difference += d * d
		size += float64(w) * float64(w)
	}
	return math.Sqrt(difference / size)
}
