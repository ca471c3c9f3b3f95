package ort

import (
	"context"
	"slices"
	"sync"
	"unsafe"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// block is a stretch of a place's memory that tensors share: one allocation for all weights of a group, so that nothing is
// fragmented and a group comes and goes as one piece. The last of its users frees it.
type block struct {
	device  *device
	size    int64
	data    []byte  // in host memory
	address uintptr // on a device
	free    func() error

	mu   sync.Mutex
	uses int
}

// blockAlignment is where tensors may begin in a block: what CUDA's kernels like best.
const blockAlignment = 256

// aligned rounds an offset up to where the next tensor may begin.
func aligned(n int64) int64 { return (n + blockAlignment - 1) &^ (blockAlignment - 1) }

// newBlock takes memory; its contents are undefined.
func (d *device) newBlock(size int64) (*block, error) {
	b := &block{device: d, size: size, uses: 1}
	var err error
	if d.place.Kind == CPU {
		b.data, b.free, err = allocate(size)
	} else {
		var v nativeValue
		v, b.address, err = d.rt.native.allocate(d.memory, max(size, 1))
		b.free = func() error { d.rt.native.releaseValue(v); return nil }
	}
	if err != nil {
		return nil, fault.New("out_of_memory", "",
			"%s does not give %d bytes (it holds %d already); ask for a smaller or shorter video, or a card with more memory",
			d.place, size, d.held.Load()).Because(err)
	}
	d.blocks.Add(1)
	for held := d.held.Add(size); ; {
		if peak := d.peak.Load(); held <= peak || d.peak.CompareAndSwap(peak, held) {
			return b, nil
		}
	}
}

// tensor makes a tensor of the bytes at offset.
func (b *block) tensor(offset int64, dtype checkpoint.DType, shape []int64) (*Tensor, error) {
	size, err := byteSize(dtype, shape)
	if err != nil {
		return nil, err
	}
	t := &Tensor{dtype: dtype, shape: slices.Clone(shape), size: size, free: b.release}
	if b.device.place.Kind == CPU {
		t.data = b.data[offset : offset+size : offset+size]
	} else {
		t.device, t.address = b.device, b.address+uintptr(offset)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uses++
	return t, nil
}

// release gives up one use: the maker's own or a tensor's.
func (b *block) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.uses--; b.uses > 0 {
		return nil
	}
	b.data = nil
	b.device.held.Add(-b.size)
	b.device.blocks.Add(-1)
	return b.free()
}

// newTensor makes a tensor with a block of its own, for results that stay on a device.
func (d *device) newTensor(dtype checkpoint.DType, shape []int64) (*Tensor, error) {
	if d.place.Kind == CPU {
		return Zeros(dtype, shape)
	}
	size, err := byteSize(dtype, shape)
	if err != nil {
		return nil, err
	}
	b, err := d.newBlock(size)
	if err != nil {
		return nil, err
	}
	t, err := b.tensor(0, dtype, shape)
	if e := b.release(); err == nil {
		err = e
	}
	return t, err
}

// Held is how many bytes of weights and results lie on p: on the host those that were copied there (weights that are
// mapped, inputs and results are not counted), on a card all. What the sessions themselves take comes on top.
func (rt *Runtime) Held(p Place) int64 {
	rt.devicesMu.Lock()
	defer rt.devicesMu.Unlock()
	if d := rt.devices[p]; d != nil {
		return d.held.Load()
	}
	return 0
}

// copyPiece bounds one copy between the host and a device, so that a context that ends is noticed in between.
const copyPiece = 64 << 20

// Upload copies t, which lies on the host, to p; on the host it copies too. The result is the caller's.
func (rt *Runtime) Upload(ctx context.Context, t *Tensor, p Place) (*Tensor, error) {
	d, err := rt.device(p)
	if err != nil {
		return nil, err
	}
	if err := t.acquire(); err != nil {
		return nil, err
	}
	defer t.release() //nolint:errcheck // fails only if unmapping does, which the owner's Close reports
	if t.device != nil {
		return nil, fault.New("onnxruntime_tensor", "", "the tensor %s%v lies on %s; copy it with ToHost first", t.dtype, t.shape, t.Place())
	}
	out, err := d.newTensor(t.dtype, t.shape)
	if err != nil {
		return nil, err
	}
	err = inPieces(ctx, t.size, func(from, to int64) error {
		if d.place.Kind == CPU {
			copy(out.data[from:to], t.data[from:to])
			return nil
		}
		return d.writeFrom(out.address+uintptr(from), t.data[from:to], false)
	})
	if err != nil {
		_ = out.Close() // the copy's error is the one to tell
		return nil, err
	}
	return out, nil
}

// ToHost copies t to host memory. The result is the caller's; t stays as it is.
func (t *Tensor) ToHost(ctx context.Context) (*Tensor, error) {
	if err := t.acquire(); err != nil {
		return nil, err
	}
	defer t.release() //nolint:errcheck // as in Upload
	out, err := Zeros(t.dtype, t.shape)
	if err != nil {
		return nil, err
	}
	err = inPieces(ctx, t.size, func(from, to int64) error {
		if t.device == nil {
			copy(out.data[from:to], t.data[from:to])
			return nil
		}
		return t.device.read(address(out.data[from:to]), t.address+uintptr(from), to-from)
	})
	if err != nil {
		_ = out.Close() // the copy's error is the one to tell
		return nil, err
	}
	return out, nil
}

// writeFrom copies host memory, which need not be pinned, to the device.
func (d *device) writeFrom(to uintptr, data []byte, pinned bool) error {
	var l loan
	defer l.pins.Unpin()
	l.pins.Pin(unsafe.Pointer(unsafe.SliceData(data)))
	return d.write(to, address(data), int64(len(data)), pinned)
}

func inPieces(ctx context.Context, size int64, do func(from, to int64) error) error {
	for from := int64(0); from < size; from += copyPiece {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(from, min(from+copyPiece, size)); err != nil {
			return err
		}
	}
	return nil
}

// address is where data lies. Go memory must be pinned while the address is used.
func address(data []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(data))) }
