package bench

import (
	"time"

	"github.com/humo-worker/humo-worker/inference/gpu"
	"github.com/humo-worker/humo-worker/inference/memory"
	"github.com/humo-worker/humo-worker/inference/ort"
)

// use is the most memory that was held: by this process, and on the card by all processes.
type use struct {
	memory.Use
	card int64
}

func (u *use) add(other use) {
	u.Anonymous, u.File, u.Total = max(u.Anonymous, other.Anonymous), max(u.File, other.File), max(u.Total, other.Total)
	u.card = max(u.card, other.card)
}

// watcher samples memory while something runs.
type watcher struct {
	process *memory.Watcher
	done    chan struct{}
	card    chan int64
}

// cardInterval is how often a card is asked, which takes a millisecond.
const cardInterval = 50 * time.Millisecond

// watch begins to sample; stop ends it.
func (b *bench) watch() *watcher {
	w := &watcher{process: memory.Watch(), done: make(chan struct{}), card: make(chan int64, 1)}
	go func() {
		var most int64
		for b.where.Kind == ort.CUDA {
			if cards := gpu.Find().Cards; b.where.Device < len(cards) {
				c := cards[b.where.Device]
				most = max(most, c.Total-c.Free)
			}
			select {
			case <-w.done:
				w.card <- most
				return
			case <-time.After(cardInterval):
			}
		}
		w.card <- 0
	}()
	return w
}

func (w *watcher) stop() use {
	close(w.done)
	return use{w.process.Stop(), <-w.card}
}
