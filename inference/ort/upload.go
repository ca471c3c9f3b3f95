package ort

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// weight is one tensor of a checkpoint in the type and shape in which a model takes it.
type weight struct {
	from    *checkpoint.Tensor
	dtype   checkpoint.DType
	shape   []int64
	prepare graph.Preparation
}

// size is what the weight takes where it is uploaded.
func (w weight) size() int64 {
	if w.prepare == graph.Int8Scales {
		return w.from.Shape[0] * w.dtype.Size()
	}
	return w.from.Elements() * w.dtype.Size()
}

// bound is the weight that a model takes at a port; an error says that it cannot be made of what is stored.
func bound(b graph.BoundWeight) (weight, error) {
	w := weight{b.Tensor, b.Port.DType, b.Port.Shape, b.Prepare}
	size, err := byteSize(w.dtype, w.shape)
	if err != nil {
		return w, err
	}
	if !w.possible() || size != w.size() {
		return w, fault.New("onnxruntime_tensor", b.Port.Name, "the port takes %s%v, which cannot be made of %v", w.dtype, w.shape, b.Tensor)
	}
	return w, nil
}

// possible reports whether the weight can be made of what is stored.
func (w weight) possible() bool {
	switch w.prepare {
	case graph.Int8Columns:
		return w.dtype == checkpoint.I8 && len(w.from.Shape) == 2 && convertible(w.from.DType, checkpoint.F32)
	case graph.Int8Scales:
		return w.dtype == checkpoint.F32 && len(w.from.Shape) == 2 && convertible(w.from.DType, checkpoint.F32)
	default:
		return convertible(w.from.DType, w.dtype)
	}
}

// placed is a weight and where it goes in a block.
type placed struct {
	weight
	offset int64
}

// layOut gives weights their places in a block and returns the block's size.
func layOut(weights []weight) (list []placed, size int64) {
	for _, w := range weights {
		list = append(list, placed{w, size})
		size += aligned(w.size())
	}
	return list, size
}

const (
	// uploadPiece is the most that one worker converts at a time. On a device it is the size of a staging buffer; the
	// transfer of one piece overlaps with the conversion of others.
	uploadPiece = 8 << 20
	// uploadWorkers bounds the goroutines that convert, and so the staging memory: 64 MiB.
	uploadWorkers = 8
)

// piece is the elements lo…hi of a weight.
type piece struct {
	placed
	data   []byte // the file from the weight's first element
	lo, hi int64
}

// upload converts weights from their mapped files and puts them into b, several pieces at once. It returns when all are
// there, after the first error, or when ctx ends.
func (d *device) upload(ctx context.Context, b *block, weights []placed) error {
	pieces, unmap, err := cut(weights)
	defer unmap()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queue := make(chan piece)
	var workers sync.WaitGroup
	for range min(uploadWorkers, runtime.GOMAXPROCS(0), len(pieces)) {
		workers.Go(func() {
			if err := d.work(ctx, b, queue); err != nil {
				stop(err)
			}
		})
	}
feed:
	for _, p := range pieces {
		select {
		case queue <- p:
		case <-ctx.Done():
			break feed
		}
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

// cut maps the files and cuts the weights into pieces; unmap ends their use.
func cut(weights []placed) (pieces []piece, unmap func(), err error) {
	var maps []*Mapping
	unmap = func() {
		for _, m := range maps {
			_ = m.Close() // read-only; others may still map the file
		}
	}
	for _, w := range weights {
		m, err := MapFile(w.from.File)
		if err != nil {
			return nil, unmap, err
		}
		maps = append(maps, m)
		data, err := m.from(w.from)
		if err != nil {
			return nil, unmap, err
		}
		if w.prepare != graph.AsStored { // row by row, and each row goes to many places
			pieces = append(pieces, piece{w, data, 0, w.from.Elements()})
			continue
		}
		for lo, step, end := int64(0), uploadPiece/w.dtype.Size(), w.from.Elements(); lo < end; lo += step {
			pieces = append(pieces, piece{w, data, lo, min(lo+step, end)})
		}
	}
	return pieces, unmap, nil
}

// work converts pieces until the queue ends: into the block if it lies on the host, else into a staging buffer first.
func (d *device) work(ctx context.Context, b *block, queue <-chan piece) error {
	var stage staging
	defer stage.free()
	for p := range queue {
		if ctx.Err() != nil {
			return nil
		}
		from, to := p.lo*p.dtype.Size(), p.hi*p.dtype.Size()
		if p.prepare != graph.AsStored {
			to = p.size()
		}
		if d.place.Kind == CPU {
			if err := p.convert(b.data[p.offset+from:p.offset+to], &stage); err != nil {
				return err
			}
			continue
		}
		if err := stage.allocate(d); err != nil {
			return err
		}
		buffer := stage.buffer[:to-from]
		if err := p.convert(buffer, &stage); err != nil {
			return err
		}
		if err := d.write(b.address+uintptr(p.offset+from), address(buffer), to-from, stage.pinned); err != nil {
			return fault.New("onnxruntime_run", p.from.Name, "the weight cannot be copied to %s", d.place).Because(err)
		}
	}
	return nil
}

// convert fills dst with the piece.
func (p piece) convert(dst []byte, stage *staging) error {
	size := p.from.DType.Size()
	src := p.data
	if p.from.Contiguous() {
		src = src[p.lo*size : p.hi*size]
	} else {
		stage.gathered = slices.Grow(stage.gathered[:0], int((p.hi-p.lo)*size))[:(p.hi-p.lo)*size]
		gather(stage.gathered, p.data, p.from, p.lo, p.hi)
		src = stage.gathered
	}
	if p.prepare != graph.AsStored {
		return quantise(dst, p.weight, src)
	}
	if x, ok := convert(dst, p.dtype, src, p.from.DType); !ok {
		return tooLarge(p.from, x, p.dtype)
	}
	return nil
}

// staging is one worker's memory. The buffer is pinned where the device reads that faster.
type staging struct {
	buffer   []byte
	pinned   bool
	release  func() error
	gathered []byte // strided elements before conversion
}

func (s *staging) allocate(d *device) (err error) {
	if s.buffer != nil {
		return nil
	}
	if d.staging != nil {
		if s.buffer, s.release, err = d.pinnedBuffer(uploadPiece); err == nil {
			s.pinned = true
			return nil
		}
		d.rt.log.Debug().Err(err).Stringer("place", d.place).Msg("no pinned memory; copies to the card are slower")
	}
	s.buffer, s.release, err = allocate(uploadPiece)
	return err
}

func (s *staging) free() {
	if s.release != nil {
		_ = s.release() // anonymous memory has no reason to fail
	}
}
