package ort

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/graph"
)

// supply hands the stages of a chain their weights. A run calls begin, then stage for each stage in order, then end.
type supply interface {
	begin(ctx context.Context) error
	stage(ctx context.Context, i int) (map[string]*Tensor, error) // by port
	end(failed bool)
	close() error
}

var errClosed = errors.New("the chain is closed")

// mapped is the supply for weights that the model takes as they are stored, on the host: nothing is copied.
type mapped []map[string]*Tensor

func mapWeights(models []*graph.Model) (mapped, error) {
	list := make(mapped, len(models))
	for i, m := range models {
		list[i] = map[string]*Tensor{}
		for _, b := range m.Bound {
			t, err := MapWeight(b)
			if err != nil {
				return list, err
			}
			list[i][b.Port.Name] = t
		}
	}
	return list, nil
}

func (mapped) begin(context.Context) error { return nil }

func (m mapped) stage(_ context.Context, i int) (map[string]*Tensor, error) { return m[i], nil }

func (mapped) end(bool) {}

func (m mapped) close() error {
	var err error
	for _, tensors := range m {
		err = errors.Join(err, CloseAll(tensors))
	}
	return err
}

// weightID tells weights apart: what is stored where, and as what it is needed.
type weightID struct {
	file         string
	offset       int64
	stored, want checkpoint.DType
	layout       string // strides and the shape wanted
	prepare      graph.Preparation
}

func (w weight) id() weightID {
	return weightID{w.from.File, w.from.Offset, w.from.DType, w.dtype, fmt.Sprint(w.from.Shape, w.from.Stride, w.shape), w.prepare}
}

// needs are the weights of one or several stages: each once.
type needs struct {
	weights []weight
	ports   []map[string]weightID // for each stage
}

func needsOf(models []*graph.Model) (n needs, err error) {
	seen := map[weightID]bool{}
	for _, m := range models {
		ports := map[string]weightID{}
		for _, b := range m.Bound {
			w, err := bound(b)
			if err != nil {
				return n, err
			}
			id := w.id()
			if !seen[id] {
				seen[id] = true
				n.weights = append(n.weights, w)
			}
			ports[b.Port.Name] = id
		}
		n.ports = append(n.ports, ports)
	}
	return n, nil
}

// pick are the tensors of one stage, by port.
func pick(ports map[string]weightID, tensors map[weightID]*Tensor) map[string]*Tensor {
	list := make(map[string]*Tensor, len(ports))
	for port, id := range ports {
		list[port] = tensors[id]
	}
	return list
}

// fill uploads weights into b and returns them as tensors, which keep b.
func (d *device) fill(ctx context.Context, b *block, weights []placed) (map[weightID]*Tensor, error) {
	if err := d.upload(ctx, b, weights); err != nil {
		return nil, err
	}
	tensors := map[weightID]*Tensor{}
	for _, w := range weights {
		t, err := b.tensor(w.offset, w.dtype, w.shape)
		if err != nil {
			return nil, errors.Join(err, closeTensors(tensors))
		}
		tensors[w.id()] = t
	}
	return tensors, nil
}

func closeTensors(tensors map[weightID]*Tensor) error {
	var err error
	for _, t := range tensors {
		err = errors.Join(err, t.Close())
	}
	return err
}

// task is an upload under way.
type task struct {
	stop    context.CancelFunc
	done    chan struct{}
	tensors map[weightID]*Tensor
	err     error
}

// start runs do in the background, until it is done or stop is called.
func start(do func(ctx context.Context) (map[weightID]*Tensor, error)) *task {
	ctx, stop := context.WithCancel(context.Background())
	t := &task{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.tensors, t.err = do(ctx)
	}()
	return t
}

// wait returns what the upload gives, or ctx's error as soon as that ends; then the upload goes on.
func (t *task) wait(ctx context.Context) (map[weightID]*Tensor, error) {
	select {
	case <-t.done:
		return t.tensors, t.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// failed reports whether the upload has ended with an error, and so has made nothing.
func (t *task) failed() bool {
	select {
	case <-t.done:
		return t.err != nil
	default:
		return false
	}
}

// abandon stops the upload and waits until it has let go of everything; what it has made is for the caller to close.
func (t *task) abandon() map[weightID]*Tensor {
	t.stop()
	<-t.done
	return t.tensors
}

// groupsOf cuts stages of the given sizes into at most n runs of neighbours so that the largest is as small as it can be.
// It returns the first stage of each, and the largest size.
func groupsOf(sizes []int64, n int) (starts []int, most int64) {
	cut := func(limit int64) (starts []int) {
		sum := limit + 1
		for i, size := range sizes {
			if sum+size > limit {
				starts, sum = append(starts, i), 0
			}
			sum += size
		}
		return starts
	}
	low, high := slices.Max(sizes), int64(0)
	for _, size := range sizes {
		high += size
	}
	for low < high {
		if middle := low + (high-low)/2; len(cut(middle)) <= n {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return cut(low), low
}

// turn is a lock whose wait a context ends.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }
