package memory

import (
	"os"
	"sync"
	"time"
)

// Use is what the process holds, in bytes: pages of its own, pages of mapped files, which the system may drop at any time,
// and their sum.
type Use struct{ Anonymous, File, Total int64 }

// Now is what the process holds; zero where the system does not tell.
func Now() Use {
	const kB = 1024
	status := fields(os.DirFS("/"), "proc/self/status")
	u := Use{Anonymous: status["RssAnon:"] * kB, File: (status["RssFile:"] + status["RssShmem:"]) * kB}
	u.Total = u.Anonymous + u.File
	return u
}

// Watcher samples the process's memory and keeps the largest values.
type Watcher struct {
	mu   sync.Mutex
	peak Use
	done chan struct{}
	gone chan struct{}
}

// interval is short against any operator at full size.
const interval = 20 * time.Millisecond

// Watch begins to sample; Stop ends it.
func Watch() *Watcher {
	w := &Watcher{done: make(chan struct{}), gone: make(chan struct{})}
	go func() {
		defer close(w.gone)
		for {
			w.sample()
			select {
			case <-w.done:
				return
			case <-time.After(interval):
			}
		}
	}()
	return w
}

func (w *Watcher) sample() {
	now := Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peak = Use{max(w.peak.Anonymous, now.Anonymous), max(w.peak.File, now.File), max(w.peak.Total, now.Total)}
}

// Stop ends the sampling and returns the peak: the largest of each value, so Total may be less than the others' sum.
func (w *Watcher) Stop() Use {
	close(w.done)
	<-w.gone
	return w.peak
}
