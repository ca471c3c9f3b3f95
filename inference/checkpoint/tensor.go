// Package checkpoint turns the published weight files (safetensors, sharded or not, and PyTorch's .pth/.pt in both
// its layouts) into a list of tensors: name, dtype, shape, strides, file and byte offset. Opening reads no tensor
// data; files are foreign bytes, so a hostile or truncated one gives an error, never a panic or a large allocation.
//
// It must not know what the tensors mean.
package checkpoint

import "fmt"

// DType is the element type of a stored tensor.
type DType uint8

// The element types that the published formats use.
const (
	Invalid DType = iota
	F32
	F16
	BF16
	F64
	I64
	I32
	I16
	I8
	U8
	Bool
)

var dtypes = [...]struct {
	name string
	size int64
}{Invalid: {"invalid", 0}, F32: {"F32", 4}, F16: {"F16", 2}, BF16: {"BF16", 2}, F64: {"F64", 8}, I64: {"I64", 8},
	I32: {"I32", 4}, I16: {"I16", 2}, I8: {"I8", 1}, U8: {"U8", 1}, Bool: {"BOOL", 1}}

// Size is the number of bytes of one element.
func (d DType) Size() int64 { return dtypes[d].size }

// String is the name that safetensors gives the type.
func (d DType) String() string { return dtypes[d].name }

// Tensor says where a tensor lies. Its bytes are little endian.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int64
	Stride []int64 // in elements; row-major unless the tensor is a view
	File   string  // absolute, symbolic links resolved
	Offset int64   // of the first element, in bytes from the start of File
}

// Elements is the product of the shape; 1 for a scalar.
func (t *Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Contiguous reports whether the elements lie in row-major order without gaps, so that Offset and
// Elements()*DType.Size() bytes describe them completely. A tensor without elements is contiguous.
func (t *Tensor) Contiguous() bool {
	if t.Elements() == 0 {
		return true
	}
	want := int64(1)
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] != 1 && t.Stride[i] != want {
			return false
		}
		want *= t.Shape[i]
	}
	return true
}

func (t *Tensor) String() string {
	return fmt.Sprintf("%s %s%v in %s at %d", t.Name, t.DType, t.Shape, t.File, t.Offset)
}
