package ort

import (
	"context"
	"errors"
	"sync"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// Shelf keeps the weights of chains on one Place: chains that need the same weight in the same type share it, and it stays
// for later chains until Drop. All methods may be called from several goroutines.
type Shelf struct {
	device *device
	turn   turn // one upload at a time; it is parallel in itself

	mu      sync.Mutex
	weights map[weightID]*shelved
}

type shelved struct {
	tensor *Tensor
	users  int // chains
}

// NewShelf makes an empty shelf on p. It fails as NewSession does where p cannot be used.
func (rt *Runtime) NewShelf(p Place) (*Shelf, error) {
	d, err := rt.device(p)
	if err != nil {
		return nil, err
	}
	return &Shelf{device: d, turn: newTurn(), weights: map[weightID]*shelved{}}, nil
}

// Bytes is what the weights on the shelf take on its Place.
func (s *Shelf) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := int64(0)
	for _, w := range s.weights {
		sum += w.tensor.size
	}
	return sum
}

// Drop frees the weights that no open chain holds. Weights that were uploaded together are freed together, so their memory
// goes when the last of them does.
func (s *Shelf) Drop() error {
	_, err := s.drop()
	return err
}

// Close is Drop, and fails if chains still hold weights: close those first.
func (s *Shelf) Close() error {
	left, err := s.drop()
	if err == nil && left > 0 {
		err = fault.New("onnxruntime_open", "", "%d weights on %s are still held by chains; close those first", left, s.device.place)
	}
	return err
}

func (s *Shelf) drop() (left int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped := false
	for id, w := range s.weights {
		if w.users > 0 {
			left++
			continue
		}
		err = errors.Join(err, w.tensor.Close())
		delete(s.weights, id)
		dropped = true
	}
	if dropped && s.device.place.Kind != CPU {
		err = errors.Join(err, s.device.shrink())
	}
	return left, err
}

// take returns weights, uploads those that are missing, and holds all until give.
func (s *Shelf) take(ctx context.Context, weights []weight) (map[weightID]*Tensor, error) {
	if err := s.turn.take(ctx); err != nil {
		return nil, err
	}
	defer s.turn.give()
	tensors, missing := s.hold(weights)
	if len(missing) == 0 {
		return tensors, nil
	}
	list, size := layOut(missing)
	b, err := s.device.newBlock(size)
	if err == nil {
		var loaded map[weightID]*Tensor
		loaded, err = s.device.fill(ctx, b, list)
		s.mu.Lock()
		for id, t := range loaded {
			tensors[id], s.weights[id] = t, &shelved{tensor: t, users: 1}
		}
		s.mu.Unlock()
		err = errors.Join(err, b.release())
	}
	if err != nil {
		s.give(tensors)
		return nil, err
	}
	return tensors, nil
}

// hold takes what is there.
func (s *Shelf) hold(weights []weight) (tensors map[weightID]*Tensor, missing []weight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tensors = map[weightID]*Tensor{}
	for _, w := range weights {
		id := w.id()
		if there := s.weights[id]; there != nil {
			there.users++
			tensors[id] = there.tensor
		} else {
			missing = append(missing, w)
		}
	}
	return tensors, missing
}

// give lets go of what take has returned.
func (s *Shelf) give(tensors map[weightID]*Tensor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range tensors {
		s.weights[id].users--
	}
}

// resident is the supply of a chain whose weights all stay. They are uploaded in the first run, those of a stage while the
// one before runs; runs that overlap with it wait for what they need.
type resident struct {
	shelf *Shelf
	own   bool // nobody else knows the shelf
	needs []needs

	mu     sync.Mutex
	tasks  []*task // for each stage
	closed bool
}

func residentWeights(d *device, shelf *Shelf, models []*graph.Model) (*resident, error) {
	r := &resident{shelf: shelf, own: shelf == nil, tasks: make([]*task, len(models))}
	if r.own {
		r.shelf = &Shelf{device: d, turn: newTurn(), weights: map[weightID]*shelved{}}
	}
	if r.shelf.device != d {
		return nil, fault.New("onnxruntime_session", "", "the shelf is on %s, the chain on %s", r.shelf.device.place, d.place)
	}
	for _, m := range models {
		n, err := needsOf([]*graph.Model{m})
		if err != nil {
			return nil, err
		}
		r.needs = append(r.needs, n)
	}
	return r, nil
}

func (r *resident) begin(context.Context) error { return nil }

func (r *resident) end(bool) {}

func (r *resident) stage(ctx context.Context, i int) (map[string]*Tensor, error) {
	t := r.task(i)
	if i+1 < len(r.needs) {
		r.task(i + 1)
	}
	if t == nil {
		return nil, errClosed
	}
	tensors, err := t.wait(ctx)
	if err != nil {
		return nil, err
	}
	return pick(r.needs[i].ports[0], tensors), nil
}

// task is the upload for stage i, started if it is not there or has failed, be it in an earlier run that never came to wait for
// it; nil after close.
func (r *resident) task(i int) *task {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (r.tasks[i] == nil || r.tasks[i].failed()) && !r.closed {
		r.tasks[i] = start(func(ctx context.Context) (map[weightID]*Tensor, error) { return r.shelf.take(ctx, r.needs[i].weights) })
	}
	return r.tasks[i]
}

func (r *resident) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for i, t := range r.tasks {
		if t != nil {
			r.shelf.give(t.abandon())
		}
		r.tasks[i] = nil
	}
	if r.own {
		return r.shelf.Close()
	}
	return nil
}
