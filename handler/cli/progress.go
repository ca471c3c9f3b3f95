package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/humo-worker/humo-worker/inference"
)

// display is where log lines and progress meet. On a terminal a bar is drawn below the lines; elsewhere progress is
// lines, too.
type display struct {
	lines io.Writer
	bars  io.Writer // the terminal; nil: there is none

	mu  sync.Mutex
	bar *mpb.Progress // while one is drawn
}

func newDisplay(lines, terminal io.Writer) *display {
	d := &display{lines: lines}
	if hasRoom(terminal) {
		d.bars = terminal
	}
	return d
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// hasRoom tells a terminal on which a bar can be drawn; some report no size, and there nothing would be seen.
func hasRoom(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0 && height > 0
}

// Write writes a log line, above the bar if there is one on the same terminal.
func (d *display) Write(line []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil && isTerminal(d.lines) {
		if n, err := d.bar.Write(line); err == nil {
			return n, nil
		}
	}
	return d.lines.Write(line)
}

// reporter shows a job's progress until it is closed.
type reporter interface {
	Progress(inference.Progress)
	Close()
}

func (d *display) progress(log zerolog.Logger) reporter {
	if d.bars == nil {
		return newLineReporter(log, 5*time.Second)
	}
	return &barReporter{display: d}
}

// barReporter draws a bar per stage.
type barReporter struct {
	display *display
	stage   inference.Stage
	bar     *mpb.Bar
}

func (b *barReporter) Progress(p inference.Progress) {
	total := int64(max(p.Steps, 1))
	if b.bar == nil || p.Stage != b.stage {
		b.finish()
		b.stage, b.bar = p.Stage, b.display.container().New(total, mpb.BarStyle(),
			mpb.PrependDecorators(decor.Name(string(p.Stage), decor.WC{W: 8, C: decor.DindentRight}), decor.CountersNoUnit("%d/%d", decor.WC{W: 9})),
			mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.OnComplete(decor.Spinner(nil, decor.WC{W: 2}), "  "),
				decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 8}), " done")))
	}
	b.bar.SetTotal(total, false)
	b.bar.SetCurrent(int64(p.Step))
}

// container makes the area that bars are drawn in, when the first one is.
func (d *display) container() *mpb.Progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar == nil {
		d.bar = mpb.New(mpb.WithOutput(d.bars), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
	}
	return d.bar
}

// leave waits for the last picture of the bars, all of which have ended, and gives the area up.
func (d *display) leave() {
	d.mu.Lock()
	container := d.bar
	d.bar = nil
	d.mu.Unlock()
	if container != nil {
		container.Wait()
	}
}

func (b *barReporter) finish() {
	if b.bar != nil {
		b.bar.SetTotal(-1, true)
	}
}

// Close leaves the bars as they are. A stage that was left half way is not shown as done.
func (b *barReporter) Close() {
	if b.bar == nil {
		return
	}
	b.bar.Abort(false)
	b.display.leave()
}

// lineReporter logs a line per stage and one now and then within a stage.
type lineReporter struct {
	log  zerolog.Logger
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	last    inference.Progress
	started time.Time // of the stage
}

func newLineReporter(log zerolog.Logger, every time.Duration) *lineReporter {
	l := &lineReporter{log: log, stop: make(chan struct{})}
	l.done.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				l.tell()
			case <-l.stop:
				return
			}
		}
	})
	return l
}

func (l *lineReporter) Progress(p inference.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.Stage != l.last.Stage {
		l.started = time.Now()
		l.log.Info().Msgf("Stage %s.", p.Stage)
	}
	l.last = p
}

// tell says where the work is. The time left is that of the stage, at its average speed so far.
func (l *lineReporter) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.last
	if p.Stage == "" {
		return
	}
	spent := time.Since(l.started)
	line := fmt.Sprintf("Stage %s: step %d of %d after %s", p.Stage, p.Step, p.Steps, spent.Round(time.Second))
	if p.Step > 0 && p.Step <= p.Steps {
		left := spent / time.Duration(p.Step) * time.Duration(p.Steps-p.Step)
		line += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	l.log.Info().Msg(line + ".")
}

func (l *lineReporter) Close() {
	close(l.stop)
	l.done.Wait()
}
