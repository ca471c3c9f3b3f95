package ort

import (
	"fmt"
	"runtime"
	"unsafe"

	binding "github.com/yalue/onnxruntime_go"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// What the binding cannot do, and what is done instead, here and nowhere else:
//
//   - It copies automatically allocated outputs, and half-precision ones by elements instead of bytes, which fails.
//     All outputs are therefore allocated here, from the model's static shapes.
//   - Its tensors have at least one dimension; only Scalar has none. A Scalar owns its memory and has no type for
//     halves, so scalars are copied in and out, and half-precision ones are refused.
//   - It refuses empty data even where the shape has no elements.
//   - It does not pin the Go memory that it hands to C for longer than one call.
//   - It indexes the first input and output of a run without looking: a model needs one of each.

// elementTypes are ONNX Runtime's names for the types that a checkpoint knows.
var elementTypes = map[checkpoint.DType]binding.TensorElementDataType{
	checkpoint.F32:  binding.TensorElementDataTypeFloat,
	checkpoint.F16:  binding.TensorElementDataTypeFloat16,
	checkpoint.BF16: binding.TensorElementDataTypeBFloat16,
	checkpoint.F64:  binding.TensorElementDataTypeDouble,
	checkpoint.I64:  binding.TensorElementDataTypeInt64,
	checkpoint.I32:  binding.TensorElementDataTypeInt32,
	checkpoint.I16:  binding.TensorElementDataTypeInt16,
	checkpoint.I8:   binding.TensorElementDataTypeInt8,
	checkpoint.U8:   binding.TensorElementDataTypeUint8,
	checkpoint.Bool: binding.TensorElementDataTypeBool,
}

// loan is the memory of some tensors while ONNX Runtime uses it: acquired, pinned and wrapped into values.
type loan struct {
	pins    runtime.Pinner
	tensors []*Tensor
	values  []binding.Value
	results []func() // bring scalars that the run has written back into their tensors
}

// lend adds t to the loan and returns its value; output says that the run will write to it.
func (l *loan) lend(t *Tensor, output bool) (binding.Value, error) {
	data, err := t.acquire()
	if err != nil {
		return nil, err
	}
	l.tensors = append(l.tensors, t)
	var value binding.Value
	if len(t.shape) == 0 {
		value, err = l.scalar(t.dtype, data, output)
	} else {
		if len(data) == 0 {
			data = make([]byte, 1) // never read: the shape has no elements
		}
		l.pins.Pin(unsafe.Pointer(&data[0])) // of no effect on memory that is not Go's
		value, err = binding.NewCustomDataTensor(t.shape, data, elementTypes[t.dtype])
	}
	if err != nil {
		return nil, err
	}
	l.values = append(l.values, value)
	return value, nil
}

// collect completes the outputs after a run that succeeded.
func (l *loan) collect() {
	for _, bring := range l.results {
		bring()
	}
}

// end gives everything back.
func (l *loan) end() error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, v := range l.values {
		keep(v.Destroy())
	}
	l.pins.Unpin()
	for _, t := range l.tensors {
		keep(t.release())
	}
	return first
}

func (l *loan) scalar(dtype checkpoint.DType, data []byte, output bool) (binding.Value, error) {
	switch dtype {
	case checkpoint.F32:
		return scalar[float32](l, data, output)
	case checkpoint.F64:
		return scalar[float64](l, data, output)
	case checkpoint.I64:
		return scalar[int64](l, data, output)
	case checkpoint.I32:
		return scalar[int32](l, data, output)
	case checkpoint.I16:
		return scalar[int16](l, data, output)
	case checkpoint.I8:
		return scalar[int8](l, data, output)
	case checkpoint.U8:
		return scalar[uint8](l, data, output)
	case checkpoint.Bool:
		return scalar[bool](l, data, output)
	}
	return nil, fmt.Errorf("a scalar of type %s cannot be passed", dtype) // NewSession has refused its port
}

func scalar[T binding.TensorData](l *loan, data []byte, output bool) (binding.Value, error) {
	var number T
	copy(memory(&number), data)
	s, err := binding.NewScalar(number)
	if err != nil {
		return nil, err
	}
	if output {
		l.results = append(l.results, func() {
			number := s.GetData()
			copy(data, memory(&number))
		})
	}
	return s, nil
}

// memory views the bytes of a number.
func memory[T any](number *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(number)), unsafe.Sizeof(*number))
}
