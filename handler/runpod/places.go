package runpod

import (
	"context"
	"sync"
)

// places are what jobs run on, a GPU each or a share of one.
type places struct{ free chan struct{} }

type place struct {
	of   *places
	once sync.Once
}

func newPlaces(n int) *places {
	p := &places{free: make(chan struct{}, n)}
	for range n {
		p.free <- struct{}{}
	}
	return p
}

// reserve waits for a free place and returns all that are free, or none if ctx ended first.
func (p *places) reserve(ctx context.Context) []*place {
	if ctx.Err() != nil {
		return nil
	}
	var mine []*place
	select {
	case <-p.free:
		mine = append(mine, &place{of: p})
	case <-ctx.Done():
		return nil
	}
	for {
		select {
		case <-p.free:
			mine = append(mine, &place{of: p})
		default:
			return mine
		}
	}
}

// one waits for a single place; nil if ctx or other ended first.
func (p *places) one(ctx context.Context, other <-chan struct{}) *place {
	select {
	case <-p.free:
		return &place{of: p}
	case <-ctx.Done():
	case <-other:
	}
	return nil
}

// release makes the place free again, the first time it is called. A nil place is nobody's.
func (p *place) release() {
	if p != nil {
		p.once.Do(func() { p.of.free <- struct{}{} })
	}
}

func release(all []*place) {
	for _, p := range all {
		p.release()
	}
}
