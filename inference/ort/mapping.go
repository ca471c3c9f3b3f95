package ort

import (
	"fmt"
	"slices"
	"sync"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Mapping is a checkpoint file in the address space, read-only. Mappings of one file share its pages, and the pages
// stay mapped until every Mapping and every Tensor over them is closed. Its size is that of the moment of mapping: a
// file that is truncated later kills the process at the next access (SIGBUS), so weights must only ever be replaced
// by renaming.
type Mapping struct {
	path   string
	mu     sync.Mutex
	region *region // nil once closed
}

// MapFile maps the file, or shares the mapping that exists.
func MapFile(path string) (*Mapping, error) {
	r, err := openRegion(path)
	if err != nil {
		return nil, fault.New(checkpoint.CodeUnreadable, path, "the checkpoint file cannot be mapped; check that it exists and may be read").
			Because(err).Again() // the volume came off: another worker may have it
	}
	return &Mapping{path: path, region: r}, nil
}

// MapTensor is MapFile(t.File) and Tensor in one: the tensor alone keeps the mapping.
func MapTensor(t *checkpoint.Tensor) (*Tensor, error) {
	m, err := MapFile(t.File)
	if err != nil {
		return nil, err
	}
	tensor, err := m.Tensor(t)
	if cerr := m.Close(); err == nil && cerr != nil {
		return nil, cerr
	}
	return tensor, err
}

// MapWeight is MapTensor for a weight that a model takes as an input: with the port's shape over the same bytes.
func MapWeight(w graph.BoundWeight) (*Tensor, error) {
	if w.Port.DType != w.Tensor.DType {
		return nil, fault.New("onnxruntime_tensor", w.Port.Name, "the port takes %s, the checkpoint holds %v", w.Port.DType, w.Tensor)
	}
	want, err := byteSize(w.Port.DType, w.Port.Shape)
	if err != nil {
		return nil, err
	}
	t, err := MapTensor(w.Tensor)
	if err != nil {
		return nil, err
	}
	if got := int64(len(t.data)); got != want {
		_ = t.Close()
		return nil, fault.New("onnxruntime_tensor", w.Port.Name, "the port's shape %v takes %d bytes, the checkpoint holds %d: %v", w.Port.Shape, want, got, w.Tensor)
	}
	t.shape = slices.Clone(w.Port.Shape)
	return t, nil
}

// Tensor gives t's elements, t being a tensor of the mapped file: without copying if it is contiguous, whatever its
// alignment, and as a copy in Go memory if it is a view with other strides. It stays valid when m is closed.
func (m *Mapping) Tensor(t *checkpoint.Tensor) (*Tensor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.region == nil {
		return nil, fmt.Errorf("the mapping for %v is closed", t)
	}
	if t.File != m.path {
		return nil, fmt.Errorf("%v does not lie in the mapped file %s", t, m.path)
	}
	size, err := byteSize(t.DType, t.Shape)
	if err != nil {
		return nil, err
	}
	if !t.Contiguous() {
		data, err := m.from(t)
		if err != nil {
			return nil, err
		}
		copied := make([]byte, size)
		gather(copied, data, t, 0, t.Elements())
		return NewTensor(t.DType, t.Shape, copied)
	}
	data, err := m.bytes(t, size)
	if err != nil {
		return nil, err
	}
	r := m.region
	r.retain()
	return &Tensor{dtype: t.DType, shape: slices.Clone(t.Shape), size: size, data: data, free: r.release}, nil
}

// bytes are size bytes of the mapped file from t's first element.
func (m *Mapping) bytes(t *checkpoint.Tensor, size int64) ([]byte, error) {
	end := int64(len(m.region.data))
	if t.Offset < 0 || t.Offset > end || size > end-t.Offset {
		return nil, fault.New("checkpoint_truncated", t.File, "%v takes %d bytes, but the file has %d in all; fetch it again", t, size, end)
	}
	return m.region.data[t.Offset : t.Offset+size : t.Offset+size], nil
}

// from is the file from t's first element to its last, whatever its strides. It is valid while m is open.
func (m *Mapping) from(t *checkpoint.Tensor) ([]byte, error) {
	if _, err := byteSize(t.DType, t.Shape); err != nil {
		return nil, err
	}
	last := int64(0)
	for i, d := range t.Shape {
		if d == 0 {
			return nil, nil
		}
		last += (d - 1) * t.Stride[i] // which the checkpoint's reader has checked
	}
	return m.bytes(t, (last+1)*t.DType.Size())
}

// Close gives up this Mapping; tensors made from it stay valid.
func (m *Mapping) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.region == nil {
		return nil
	}
	r := m.region
	m.region = nil
	return r.release()
}
