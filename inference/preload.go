package inference

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/memory"
	"github.com/humo-worker/humo-worker/inference/readahead"
)

// Preload says what Prepare does besides opening networks.
type Preload string

// The values of HUMO_PRELOAD.
const (
	PreloadNone Preload = "none" // pages of weights are read when a network touches them
	PreloadAuto Preload = "auto" // they are read ahead in the background
)

// Validate reports an unknown value.
func (p Preload) Validate() error {
	if p != "" && p != PreloadNone && p != PreloadAuto {
		return fault.New("invalid_setting", "HUMO_PRELOAD", "is %.40q; set it to %s or %s", string(p), PreloadAuto, PreloadNone)
	}
	return nil
}

// Prepare opens the networks of a variant: names, sizes and the library are checked, weights stay in their files. With
// PreloadAuto it opens the text encoder too, and leaves a reader of all their pages behind.
//
// The reader is not waited for: a job that comes meanwhile reads the same pages, which the reader takes in the order in
// which jobs need them, so waiting for all of them would only make the first job later.
func (e *Engine) Prepare(ctx context.Context, v Variant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m, err := e.Models(v)
	if err != nil || !e.ahead.on {
		return err
	}
	if err := m.Text.Open(); err != nil {
		return err
	}
	ranges, err := e.WeightsInUse(v)
	if err != nil {
		return err
	}
	available, known := memory.Available()
	if !known {
		available = 0
	}
	limit := available / 4 * 3 // the rest is for activations: what is read too much would drive out what came before
	e.ahead.start(ranges, limit, func(r ReadAhead) {
		e.log.Info().Int64("bytes", r.Bytes).Int64("of", r.Wanted).Float64("seconds", math.Round(r.Seconds*100)/100).Msg("Weights were read ahead.")
	})
	return nil
}

// WeightsInUse says where the weights lie that the networks of a variant read whole, in the order in which a clip needs
// them: text, audio, VAE, transformer. What the files hold besides is left out, and the text encoder's table, of which a
// prompt reads a few rows. It opens the text encoder.
func (e *Engine) WeightsInUse(v Variant) ([]readahead.Range, error) {
	m, err := e.Models(v)
	if err != nil {
		return nil, err
	}
	text, err := m.Text.opened()
	if err != nil {
		return nil, err
	}
	var out []readahead.Range
	for _, file := range []string{m.Files.UMT5, m.Files.Whisper, m.Files.VAE, m.Files.DiT} {
		ix, err := checkpoint.Open(file)
		if err != nil {
			return nil, err
		}
		skipped := e.ahead.skipped(file)
		for _, name := range ix.Names() {
			t := ix.Tensors[name]
			if file == m.Files.UMT5 && name == text.net.Embedding.Weight.Name || slices.Contains(skipped, name) {
				continue
			}
			out = append(out, readahead.Range{File: t.File, Offset: t.Offset, Bytes: t.Elements() * t.DType.Size()})
		}
	}
	return readahead.Merge(out), nil
}

// ReadAhead is what a reader of pages has done.
type ReadAhead struct {
	Bytes, Wanted int64 // Wanted is more than Bytes if there was no room, or the engine was closed
	Seconds       float64
}

// ReadAhead waits until the pages are read that Prepare set out to read. It is the zero value if there were none.
func (e *Engine) ReadAhead(ctx context.Context) (ReadAhead, error) { return e.ahead.wait(ctx) }

// preloader reads pages in the background, for one variant at a time.
type preloader struct {
	on bool

	mu     sync.Mutex
	unused map[string][]string // tensors by file
	stop   context.CancelFunc
	done   chan struct{} // nil: never begun
	result ReadAhead     // valid when done is closed
}

// skip notes the tensors of a file that no network reads.
func (p *preloader) skip(file string, tensors []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unused == nil {
		p.unused = map[string][]string{}
	}
	p.unused[file] = tensors
}

func (p *preloader) skipped(file string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unused[file]
}

// start begins to read; what it was reading for another call is given up.
func (p *preloader) start(ranges []readahead.Range, limit int64, report func(ReadAhead)) {
	p.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background()) // it outlives the call of Prepare and ends with the engine
	done := make(chan struct{})
	p.stop, p.done = stop, done
	go func() {
		defer close(done)
		began := time.Now()
		n := readahead.Read(ctx, ranges, limit)
		p.result = ReadAhead{n, readahead.Total(ranges), time.Since(began).Seconds()}
		if ctx.Err() == nil {
			report(p.result)
		}
	}()
}

func (p *preloader) wait(ctx context.Context) (ReadAhead, error) {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done == nil {
		return ReadAhead{}, nil
	}
	select {
	case <-done:
		return p.result, nil
	case <-ctx.Done():
		return ReadAhead{}, context.Cause(ctx)
	}
}

// close ends the reading and waits for it.
func (p *preloader) close() {
	p.mu.Lock()
	stop, done := p.stop, p.done
	p.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
}
