package ort

import (
	"context"
	"errors"

	"github.com/humo-worker/humo-worker/inference/graph"
)

// stream is the supply of a chain whose weights do not fit all at once: neighbouring stages form groups, and while one
// group runs the next is uploaded, the first one again while the last runs. Two blocks of memory take turns, so no more
// than two groups are ever there. Runs take turns.
type stream struct {
	device *device
	needs  []needs // for each group
	group  []int   // of each stage
	first  []int   // stage of each group
	most   int64   // bytes of the largest group
	turn   turn

	// For the run whose turn it is, and in between:
	blocks  [2]*block
	next    *task // the upload of group upcoming, into blocks[slot]; nil if there is none
	coming  int
	slot    int
	current int // the group whose weights are held; -1 for none
	held    map[weightID]*Tensor
	closed  bool
}

// streamedWeights returns nil, without an error, if the stages make no more than one group.
func streamedWeights(d *device, models []*graph.Model, groups int) (*stream, error) {
	sizes := make([]int64, len(models))
	for i, m := range models {
		n, err := needsOf([]*graph.Model{m})
		if err != nil {
			return nil, err
		}
		_, sizes[i] = layOut(n.weights)
	}
	s := &stream{device: d, group: make([]int, len(models)), turn: newTurn(), current: -1}
	if s.first, _ = groupsOf(sizes, groups); len(s.first) < 2 {
		return nil, nil
	}
	for g, from := range s.first {
		to := len(models)
		if g+1 < len(s.first) {
			to = s.first[g+1]
		}
		n, err := needsOf(models[from:to])
		if err != nil {
			return nil, err
		}
		s.needs = append(s.needs, n)
		_, size := layOut(n.weights)
		s.most = max(s.most, size)
		for i := from; i < to; i++ {
			s.group[i] = g
		}
	}
	return s, nil
}

func (s *stream) begin(ctx context.Context) error { return s.turn.take(ctx) }

func (s *stream) stage(ctx context.Context, i int) (map[string]*Tensor, error) {
	g := s.group[i]
	if s.closed {
		return nil, errClosed
	}
	if g != s.current {
		if err := s.change(ctx, g); err != nil {
			return nil, err
		}
	}
	return pick(s.needs[g].ports[i-s.first[g]], s.held), nil
}

// change lets go of the group that has run, waits for g and starts the upload of the one after it.
func (s *stream) change(ctx context.Context, g int) error {
	if err := s.letGo(); err != nil {
		return err
	}
	if s.next == nil {
		s.upload(g)
	}
	tensors, err := s.next.wait(ctx)
	if err != nil {
		return err
	}
	s.next, s.current, s.held = nil, g, tensors
	s.slot = 1 - s.slot
	s.upload((g + 1) % len(s.needs))
	return nil
}

// upload starts to bring group g into the block whose turn it is.
func (s *stream) upload(g int) {
	slot := s.slot
	s.coming = g
	s.next = start(func(ctx context.Context) (map[weightID]*Tensor, error) {
		if s.blocks[slot] == nil {
			b, err := s.device.newBlock(s.most)
			if err != nil {
				return nil, err
			}
			s.blocks[slot] = b
		}
		list, _ := layOut(s.needs[g].weights)
		return s.device.fill(ctx, s.blocks[slot], list)
	})
}

func (s *stream) letGo() error {
	err := closeTensors(s.held)
	s.current, s.held = -1, nil
	return err
}

// end keeps the upload of the first group, for the next run, and abandons any other.
func (s *stream) end(failed bool) {
	_ = s.letGo() // they are parts of blocks that stay: nothing that can fail
	if failed || s.coming != 0 {
		s.abandon()
	}
	s.turn.give()
}

func (s *stream) abandon() {
	if s.next != nil {
		_ = closeTensors(s.next.abandon()) // as in end
		s.next = nil
	}
}

func (s *stream) close() error {
	s.turn <- struct{}{} // after the run that is under way
	defer s.turn.give()
	if s.closed {
		return nil
	}
	s.closed = true
	s.abandon()
	err := s.letGo()
	for i, b := range s.blocks {
		if b != nil {
			err = errors.Join(err, b.release())
		}
		s.blocks[i] = nil
	}
	if s.device.place.Kind != CPU {
		err = errors.Join(err, s.device.shrink())
	}
	return err
}
