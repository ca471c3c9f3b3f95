package ort

import (
	"runtime"
	"unsafe"

	binding "github.com/yalue/onnxruntime_go"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
)

// The Go binding loads the library, owns its environment and the CPU arena in it, and unloads it. Sessions, values and
// runs go to the library's own C API (native.go), because the binding cannot
//
//   - keep a result on a device, make or fill a tensor there, or stop a run with bound values (its RunWithBinding takes no
//     run options);
//   - pass a tensor without dimensions, except as a copy and not of a 16-bit type, or one without elements;
//   - allocate 16-bit outputs itself (it copies elements instead of bytes) or name several bound outputs.
//
// Why sessions are made here too, and not taken out of the binding's structs: their handles are private fields there, so
// reading them rests on reflection or on offsets that any release may move, while CreateEnv is documented to return the
// environment that exists already. From there on everything is public, versioned API (include/, version 24).

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

// loan is the memory of some tensors while ONNX Runtime uses it: acquired, pinned and wrapped into values. A value lives
// for one run only: bound to a second one, an output would be written to the address that may be that run's input.
type loan struct {
	native  *native
	pins    runtime.Pinner
	tensors []*Tensor
	values  []nativeValue
}

// lend adds t to the loan.
func (l *loan) lend(t *Tensor) error {
	if err := t.acquire(); err != nil {
		return err
	}
	l.tensors = append(l.tensors, t)
	info, address := l.native.host, t.address
	if t.device != nil {
		info = t.device.info
	} else if len(t.data) > 0 {
		start := unsafe.Pointer(unsafe.SliceData(t.data))
		l.pins.Pin(start) // of no effect on memory that is not Go's
		address = uintptr(start)
	}
	v, err := l.native.view(info, address, t.size, t.dtype, t.shape)
	if err != nil {
		return err
	}
	l.values = append(l.values, v)
	return nil
}

// end gives everything back.
func (l *loan) end() error {
	var first error
	for _, v := range l.values {
		l.native.releaseValue(v)
	}
	l.pins.Unpin()
	for _, t := range l.tensors {
		if err := t.release(); first == nil {
			first = err
		}
	}
	return first
}
