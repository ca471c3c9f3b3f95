package weights

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// tensor is a tensor to be written. Its elements are made while they are written, so its size costs no memory.
type tensor struct {
	name   string
	dtype  checkpoint.DType // F32, BF16 or F16
	shape  []int64
	values values
}

func (t tensor) elements() int64 {
	n := int64(1)
	for _, d := range t.shape {
		n *= d
	}
	return n
}

func (t tensor) bytes() int64 { return t.elements() * t.dtype.Size() }

// rowMajor are the strides of the tensor in elements.
func (t tensor) rowMajor() []int64 {
	stride, n := make([]int64, len(t.shape)), int64(1)
	for i := len(t.shape) - 1; i >= 0; i-- {
		stride[i] = n
		n *= t.shape[i]
	}
	return stride
}

// writeTo writes the elements in row-major order, little endian.
func (t tensor) writeTo(w io.Writer) error {
	const chunk = 1 << 15
	n := t.elements()
	vals := make([]float32, min(n, chunk))
	raw := make([]byte, int64(len(vals))*t.dtype.Size())
	for start := int64(0); start < n; start += chunk {
		part := vals[:min(n-start, chunk)]
		t.values.fill(t.name, part, start)
		var b []byte
		switch t.dtype {
		case checkpoint.F32:
			b = raw[:4*len(part)]
			for i, v := range part {
				binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
			}
		case checkpoint.BF16:
			b = raw[:2*len(part)]
			for i, v := range part {
				binary.LittleEndian.PutUint16(b[2*i:], ToBF16(v))
			}
		case checkpoint.F16:
			b = raw[:2*len(part)]
			for i, v := range part {
				binary.LittleEndian.PutUint16(b[2*i:], ToF16(v))
			}
		default:
			return fmt.Errorf("%s: cannot write dtype %s", t.name, t.dtype)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// ToBF16 rounds a finite number to the nearest bfloat16, ties to even.
func ToBF16(v float32) uint16 {
	b := math.Float32bits(v)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// ToF16 rounds a finite number to the nearest IEEE half, ties to even; what is too large becomes infinite.
func ToF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign, exp, frac := uint16(b>>16&0x8000), int(b>>23&0xff)-127+15, b&0x7fffff
	switch {
	case exp >= 31:
		return sign | 0x7c00
	case exp <= 0: // a subnormal half: shift the full significand into place
		if exp < -10 {
			return sign
		}
		frac |= 0x800000
		shift := uint(14 - exp)
		h, rest, tie := frac>>shift, frac&(1<<shift-1), uint32(1)<<(shift-1)
		if rest > tie || rest == tie && h&1 == 1 {
			h++
		}
		return sign | uint16(h)
	}
	h, rest := uint32(exp)<<10|frac>>13, frac&0x1fff
	if rest > 0x1000 || rest == 0x1000 && h&1 == 1 {
		h++ // may carry into the exponent, up to infinity, as it should
	}
	return sign | uint16(h)
}

// counter is a buffered writer that knows its position.
type counter struct {
	*bufio.Writer
	n int64
}

func newCounter(w io.Writer) *counter { return &counter{Writer: bufio.NewWriterSize(w, 1<<20)} }

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}
