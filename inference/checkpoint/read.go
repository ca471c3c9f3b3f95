package checkpoint

import "math"

// Raw returns the tensor's elements in row-major order, little endian, strides resolved. It is the only call that
// reads tensor data, apart from Float32. What it allocates is bounded by the file: a tensor that repeats its elements
// (stride 0) until they outgrow the file is refused. A view costs the range of the file that it spans.
func (t *Tensor) Raw() ([]byte, error) {
	f, done, err := openFile(t.File)
	if err != nil {
		return nil, err
	}
	defer done()
	raw, err := t.read(f)
	return raw, inFile(t.File, err)
}

func (t *Tensor) read(f *file) ([]byte, error) {
	size, ok := byteSize(t.Shape, t.DType)
	if !ok || t.DType == Invalid || len(t.Shape) != len(t.Stride) {
		return nil, malformed("the tensor %s has the impossible layout %s%v with strides %v", quote(t.Name), t.DType, t.Shape, t.Stride)
	}
	if size == 0 {
		return []byte{}, nil
	}
	if size > f.size {
		return nil, unsupported("the tensor %s repeats its elements into %d bytes, more than the %d of its file; store it without",
			quote(t.Name), size, f.size)
	}
	what := "the tensor " + quote(t.Name)
	if t.Contiguous() {
		return f.bytesAt(t.Offset, size, what)
	}
	last, ok := lastElement(t.Shape, t.Stride)
	if !ok || last > math.MaxInt64/t.DType.Size()-1 {
		return nil, malformed("the tensor %s has the impossible strides %v", quote(t.Name), t.Stride)
	}
	span, err := f.bytesAt(t.Offset, (last+1)*t.DType.Size(), what)
	if err != nil {
		return nil, err
	}
	return gather(make([]byte, 0, size), span, t.Shape, t.Stride, t.DType.Size()), nil
}

// gather appends the elements of a strided tensor of rank 1 or more, whose first element starts span, in row-major order.
func gather(raw, span []byte, shape, stride []int64, size int64) []byte {
	step := stride[0] * size
	switch {
	case len(shape) > 1:
		for i := range shape[0] {
			raw = gather(raw, span[i*step:], shape[1:], stride[1:], size)
		}
	case step == size:
		raw = append(raw, span[:shape[0]*size]...)
	default:
		for i := range shape[0] {
			raw = append(raw, span[i*step:][:size]...)
		}
	}
	return raw
}
