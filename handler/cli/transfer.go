package cli

import (
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/weights/pull"
)

// transfer shows the progress of files: a line for each that has come into its place, and bars on a terminal or a line
// every five seconds elsewhere.
type transfer struct {
	display *display
	log     zerolog.Logger
	reading bool // files are only read: what has been checked counts, not what is there
	stop    chan struct{}
	done    sync.WaitGroup

	mu    sync.Mutex
	files map[string]pull.Progress
	bars  map[string]*fileBar
	sum   *fileBar // of all of them

	got, total, base int64 // bytes of all files: that count, that there are, that counted at the begin
	begin            time.Time
}

// fileBar is a bar with words beside it. They are not read under the transfer's lock, which is held while bars are moved.
type fileBar struct {
	*mpb.Bar
	words atomic.Pointer[string]
}

func (b *fileBar) say(words string) { b.words.Store(&words) }

func newFileBar(area *mpb.Progress, name string, total int64, options ...mpb.BarOption) *fileBar {
	b := &fileBar{}
	b.say("")
	b.Bar = area.New(total, mpb.BarStyle(), append(options,
		mpb.PrependDecorators(decor.Name(name, decor.WC{W: 32, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return *b.words.Load() }, decor.WC{W: 30, C: decor.DindentRight})))...)
	return b
}

func (d *display) transfer(log zerolog.Logger, reading bool) *transfer {
	t := &transfer{display: d, log: log, reading: reading, stop: make(chan struct{}),
		files: map[string]pull.Progress{}, bars: map[string]*fileBar{}, begin: time.Now()}
	if d.bars == nil {
		t.done.Go(t.tell)
	}
	return t
}

// counted is how much of a file counts as done.
func (t *transfer) counted(p pull.Progress) int64 {
	switch {
	case p.Phase == pull.Done, p.Phase == pull.Checking && !t.reading:
		return p.Total
	case p.Phase == pull.Planned && t.reading:
		return 0
	}
	return p.Bytes
}

// Progress takes a file's progress.
func (t *transfer) Progress(p pull.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.files[p.Path]
	t.files[p.Path] = p
	t.got += t.counted(p)
	if known {
		t.got -= t.counted(last)
	} else {
		t.total += p.Total
		t.base += t.counted(p)
	}
	if p.Phase == pull.Done && last.Phase != pull.Planned && !t.reading {
		t.log.Info().Msgf("%s is in its place (%s).", p.Path, weights.Size(p.Total))
	}
	if t.display.bars != nil {
		t.draw(p, last.Phase)
	}
}

// draw moves a file's bar, and that of all.
func (t *transfer) draw(p pull.Progress, last pull.Phase) {
	if p.Phase == pull.Planned || p.Phase == pull.Done && last == pull.Planned {
		return
	}
	area := t.display.container()
	if t.sum == nil {
		t.sum = newFileBar(area, "all", 0, mpb.BarPriority(1<<20)) // the last one
	}
	bar := t.bars[p.Path]
	if bar == nil {
		bar = newFileBar(area, path.Base(p.Path), p.Total+1, mpb.BarRemoveOnComplete()) // a full bar ends by itself
		t.bars[p.Path] = bar
	}
	bar.say(fmt.Sprintf(" %s %s of %s", p.Phase, weights.Size(p.Bytes), weights.Size(p.Total)))
	bar.SetCurrent(p.Bytes)
	if p.Phase == pull.Done {
		bar.SetTotal(-1, true)
	}
	t.sum.say(t.line())
	t.sum.SetTotal(t.total+1, false)
	t.sum.SetCurrent(t.got)
}

// line says where all of it stands. The time left is that at the average speed so far. The lock is held.
func (t *transfer) line() string {
	line := fmt.Sprintf(" %s of %s", weights.Size(t.got), weights.Size(t.total))
	spent := time.Since(t.begin)
	if moved := t.got - t.base; moved > 0 && spent >= time.Second {
		speed := float64(moved) / spent.Seconds()
		left := time.Duration(float64(t.total-t.got) / speed * float64(time.Second))
		line += fmt.Sprintf(", %s/s, %s left", weights.Size(int64(speed)), left.Round(time.Second))
	}
	return line
}

// tell logs a line every five seconds while something is under way.
func (t *transfer) tell() {
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	verb := "Fetched"
	if t.reading {
		verb = "Checked"
	}
	for {
		select {
		case <-ticker.C:
			t.mu.Lock()
			if t.total > 0 {
				t.log.Info().Msg(verb + t.line() + ".")
			}
			t.mu.Unlock()
		case <-t.stop:
			return
		}
	}
}

// Close leaves the bars as they are.
func (t *transfer) Close() {
	close(t.stop)
	t.done.Wait()
	for _, bar := range t.bars {
		bar.Abort(true)
	}
	if t.sum != nil && t.got == t.total {
		t.sum.SetTotal(-1, true)
	} else if t.sum != nil {
		t.sum.Abort(false)
	}
	t.display.leave()
}
