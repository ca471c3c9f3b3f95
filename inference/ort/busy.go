package ort

import (
	"sync"
	"time"
)

// busy measures how long at least one run has been inside the library: runs side by side count once.
type busy struct {
	mu    sync.Mutex
	runs  int
	since time.Time     // the first of them began
	total time.Duration // before
}

func (b *busy) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs++; b.runs == 1 {
		b.since = time.Now()
	}
}

func (b *busy) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs--; b.runs == 0 {
		b.total += time.Since(b.since)
	}
}

// Busy is the time, since the library was loaded, in which it ran networks.
func (rt *Runtime) Busy() time.Duration {
	b := &rt.busy
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs == 0 {
		return b.total
	}
	return b.total + time.Since(b.since)
}
