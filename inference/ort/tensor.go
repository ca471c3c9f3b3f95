package ort

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"unsafe"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Tensor is a row-major array. Its memory is lent to ONNX Runtime for the length of a Run, during which nobody may write
// to it (inputs) or touch it (outputs).
//
// There are four kinds of memory behind it: the caller's Go slice (NewTensor, From…), anonymous pages outside Go's
// heap (Zeros, and the outputs of Run), a mapped file (MapTensor; read-only, writing to it crashes) and a device's own
// (Upload, and the results that a Chain keeps there), which only ToHost reads. The first three need no Runtime; those on
// a device must be closed before it.
type Tensor struct {
	dtype   checkpoint.DType
	shape   []int64
	size    int64   // in bytes
	device  *device // nil on the host
	address uintptr // on the device

	mu     sync.Mutex
	data   []byte // on the host; nil once freed
	uses   int    // runs that hold the memory
	closed bool
	freed  bool
	free   func() error // gives the memory back; nil for Go's, which the garbage collector owns
}

// NewTensor makes a tensor over data without copying: Go memory or memory mapped by the caller, of any alignment. It
// stays the caller's: Close only forgets it. The element count of shape (none for a scalar: 1) times the size of
// dtype must be len(data).
func NewTensor(dtype checkpoint.DType, shape []int64, data []byte) (*Tensor, error) {
	size, err := byteSize(dtype, shape)
	if err != nil {
		return nil, err
	}
	if size != int64(len(data)) {
		return nil, fault.New("onnxruntime_tensor", "", "%s%v takes %d bytes, got %d", dtype, shape, size, len(data))
	}
	if data == nil {
		data = []byte{}
	}
	return &Tensor{dtype: dtype, shape: slices.Clone(shape), size: size, data: data}, nil
}

// FromFloat32s makes an F32 tensor over data without copying.
func FromFloat32s(shape []int64, data []float32) (*Tensor, error) {
	return NewTensor(checkpoint.F32, shape, bytesOf(data))
}

// FromInt64s makes an I64 tensor over data without copying.
func FromInt64s(shape []int64, data []int64) (*Tensor, error) {
	return NewTensor(checkpoint.I64, shape, bytesOf(data))
}

// Zeros makes a tensor of zeros outside Go's heap. Pages that are never written take no memory.
func Zeros(dtype checkpoint.DType, shape []int64) (*Tensor, error) {
	size, err := byteSize(dtype, shape)
	if err != nil {
		return nil, err
	}
	data, free, err := allocate(size)
	if err != nil {
		return nil, fault.New("out_of_memory", "", "%s%v takes %d bytes, which the system does not give; ask for a smaller or shorter video", dtype, shape, size).Because(err)
	}
	return &Tensor{dtype: dtype, shape: slices.Clone(shape), size: size, data: data, free: free}, nil
}

// DType is the type of the elements.
func (t *Tensor) DType() checkpoint.DType { return t.dtype }

// Shape is a copy of the dimensions; empty for a scalar.
func (t *Tensor) Shape() []int64 { return slices.Clone(t.shape) }

// Place is where the memory lies.
func (t *Tensor) Place() Place {
	if t.device == nil {
		return Place{}
	}
	return t.device.place
}

// Size is the number of bytes of the elements.
func (t *Tensor) Size() int64 { return t.size }

// Bytes is a live view of the elements, little endian. It dies with Close: using it afterwards crashes the process
// unless it was the caller's own memory. It is nil after Close, and on a device (see ToHost).
func (t *Tensor) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.data
}

// Float32s is the view of Bytes as numbers; nil if the tensor is not F32 or lies on a device. In a mapped file it may be unaligned, which
// the processors that this program supports allow.
func (t *Tensor) Float32s() []float32 {
	data := t.Bytes()
	if t.dtype != checkpoint.F32 || data == nil {
		return nil
	}
	if len(data) == 0 {
		return []float32{}
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&data[0])), len(data)/4)
}

// Close gives the memory back, at once or when the last running Run that uses it returns.
func (t *Tensor) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return t.settle()
}

// acquire keeps the memory until release.
func (t *Tensor) acquire() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("the tensor %s%v is closed", t.dtype, t.shape)
	}
	t.uses++
	return nil
}

func (t *Tensor) release() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.uses--
	return t.settle()
}

// settle frees the memory of a closed tensor that no run uses, once.
func (t *Tensor) settle() error {
	if !t.closed || t.uses > 0 || t.freed {
		return nil
	}
	t.data, t.freed = nil, true
	if t.free == nil {
		return nil
	}
	return t.free()
}

// byteSize is the size of a tensor, or an error if it is none that memory can hold.
func byteSize(dtype checkpoint.DType, shape []int64) (int64, error) {
	if _, ok := elementTypes[dtype]; !ok {
		return 0, fault.New("onnxruntime_tensor", "", "the element type %d is none that ONNX Runtime runs", uint8(dtype))
	}
	size := dtype.Size()
	for _, d := range shape {
		if d < 0 {
			return 0, fault.New("onnxruntime_tensor", "", "the shape %v has a negative dimension; every dimension must be known", shape)
		}
	}
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	for _, d := range shape {
		if size > math.MaxInt64/d {
			return 0, fault.New("onnxruntime_tensor", "", "a tensor of %s%v is larger than any memory", dtype, shape)
		}
		size *= d
	}
	return size, nil
}

// bytesOf views numbers as the bytes they lie in.
func bytesOf[T float32 | int64](data []T) []byte {
	if len(data) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*int(unsafe.Sizeof(data[0])))
}
