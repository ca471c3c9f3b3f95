package runpod

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// report is a job's Reporter. Its posts are made by one goroutine each for progress and for chunks, which are started with
// the first of either; settle ends them both before the result is posted.
type report struct {
	s   *session
	e   *entry
	log zerolog.Logger

	over chan struct{} // closed by settle
	once sync.Once

	mu        sync.Mutex
	closed    bool
	newest    []byte // progress not yet sent
	stage     string
	urgent    bool // the stage has changed
	wake      chan struct{}
	sender    chan struct{} // closed when the progress sender has ended; nil: never started
	unsettled time.Time     // until when a progress post may still be on its way

	stream
}

func newReport(s *session, e *entry, log zerolog.Logger) *report {
	return &report{s: s, e: e, log: log, over: make(chan struct{}), wake: make(chan struct{}, 1)}
}

const maxProgressBytes = 8 << 10

// Progress is Reporter's.
func (r *report) Progress(v any) {
	raw, err := Encode(v)
	if err != nil {
		r.log.Warn().Err(err).Msg("A progress value cannot be written as JSON; it is dropped.")
		return
	}
	body, _ := Encode(struct {
		Status string          `json:"status"` // without it the post would be the result
		Output json.RawMessage `json:"output"`
	}{"IN_PROGRESS", r.s.redact.JSON(raw)})
	if len(body) > maxProgressBytes {
		r.log.Warn().Int("bytes", len(body)).Msgf("A progress value has more than %d bytes; it is dropped.", maxProgressBytes)
		return
	}
	if !r.s.progress {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.newest = body
	if stage := stageOf(raw); stage != "" && stage != r.stage {
		r.stage, r.urgent = stage, true
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
	if r.sender == nil {
		r.sender = make(chan struct{})
		go r.sendProgress()
	}
}

func stageOf(raw []byte) string {
	var v struct {
		Stage string `json:"stage"`
	}
	if json.Unmarshal(raw, &v) != nil {
		return ""
	}
	return v.Stage
}

func (r *report) sendProgress() {
	defer close(r.sender)
	var last time.Time
	for {
		if !r.wait(nil) {
			return
		}
		for until := last.Add(r.s.c.ProgressMinInterval); !r.due(until); {
			timer := time.NewTimer(time.Until(until))
			more := r.wait(timer.C)
			timer.Stop()
			if !more {
				return
			}
		}
		r.mu.Lock()
		body := r.newest
		r.newest, r.urgent = nil, false
		r.mu.Unlock()
		if body == nil {
			continue
		}
		last = time.Now()
		r.postProgress(body)
	}
}

// wait returns after a new value or the timer; false: it is over.
func (r *report) wait(timer <-chan time.Time) bool {
	select { // nothing is sent once it is over
	case <-r.over:
		return false
	default:
	}
	select {
	case <-r.wake:
		return true
	case <-timer:
		return true
	case <-r.over:
	case <-r.e.ctx.Done():
	}
	return false
}

func (r *report) due(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.urgent || !time.Now().Before(at)
}

func (r *report) postProgress(body []byte) {
	ctx, cancel := context.WithTimeout(r.e.ctx, r.s.t.ProgressTimeout)
	defer cancel()
	a := r.s.api.post(ctx, r.s.to.outputURL(r.e.id, false), r.e.id, body)
	if a.err == nil && a.status < 400 {
		return
	}
	r.log.Debug().Msgf("Progress was not taken: %s", a)
	if a.err != nil && !a.unsent {
		r.mu.Lock()
		r.unsettled = time.Now().Add(r.s.t.ProgressSettle)
		r.mu.Unlock()
	}
}

// settle returns when no post of this report is under way and none will be.
func (r *report) settle() {
	r.once.Do(func() { close(r.over) })
	r.mu.Lock()
	r.closed = true
	sender := r.sender
	r.mu.Unlock()
	r.endStream()
	if sender != nil {
		<-sender // its post ends by itself: see ProgressTimeout
	}
	r.mu.Lock()
	until := r.unsettled
	r.mu.Unlock()
	pause(r.e.ctx, time.Until(until))
}
