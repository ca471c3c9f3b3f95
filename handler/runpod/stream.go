package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// stream is a report's chunks. They are posted in order; what the queue does not take makes the handler wait.
type stream struct {
	chunkMu sync.Mutex // one Stream call at a time: their order is the chunks'
	ended   bool
	queue   chan []byte
	done    chan struct{}
	cut     context.CancelFunc

	all     []json.RawMessage // for the result of a job without an output
	allSize int
}

const (
	maxChunkBytes = 1_000_000
	waitingChunks = 64
)

var errOver = errors.New("the job is over")

// Stream is Reporter's.
func (r *report) Stream(v any) error {
	raw, err := Encode(v)
	if err != nil {
		return err
	}
	body, _ := Encode(answer{Output: raw})
	if len(body) > maxChunkBytes {
		return fmt.Errorf("a chunk has %d bytes of JSON, RunPod takes %d: send smaller ones", len(body), maxChunkBytes)
	}
	r.chunkMu.Lock()
	defer r.chunkMu.Unlock()
	if r.ended {
		return errOver
	}
	if r.queue == nil {
		ctx, cancel := context.WithCancel(r.e.ctx)
		r.queue, r.done, r.cut = make(chan []byte, waitingChunks), make(chan struct{}), cancel
		go r.sendChunks(ctx)
	}
	r.allSize += len(raw) + 1
	if r.allSize < r.s.c.MaxResultBytes-64 {
		r.all = append(r.all, raw)
	}
	if r.s.to.stream == "" {
		return nil // the harness has no stream; the chunks are in the result
	}
	select {
	case r.queue <- body:
		return nil
	case <-r.e.ctx.Done():
		return context.Cause(r.e.ctx)
	case <-r.over:
		return errOver
	}
}

func (r *report) sendChunks(ctx context.Context) {
	defer close(r.done)
	for body := range r.queue {
		wait := r.s.t.PostRetry
		for attempt := 1; ctx.Err() == nil; attempt++ {
			attemptCtx, cancel := context.WithTimeout(ctx, r.s.t.Post)
			a := r.s.api.post(attemptCtx, r.s.to.streamURL(r.e.id), r.e.id, body)
			cancel()
			if a.err == nil && a.status < 400 {
				break
			}
			// A chunk that may have arrived is not sent again: the client would see it twice.
			if again := a.unsent || a.status == 429 || a.status >= 500; !again || attempt == 3 {
				r.log.Warn().Msgf("A chunk of the stream was not taken: %s", a)
				break
			}
			pause(ctx, wait)
			wait *= 2
		}
	}
}

// endStream sends what is waiting, for a bounded time.
func (r *report) endStream() {
	r.chunkMu.Lock()
	started := r.queue != nil && !r.ended
	r.ended = true
	r.chunkMu.Unlock()
	if !started {
		return
	}
	close(r.queue)
	timer := time.AfterFunc(r.s.t.StreamFlush, r.cut)
	defer timer.Stop()
	<-r.done
	r.cut()
}

func (r *report) streamed() bool {
	r.chunkMu.Lock()
	defer r.chunkMu.Unlock()
	return r.queue != nil
}

// chunksSent is the list of all chunks, or an empty one if they are too many for a result.
func (r *report) chunksSent() json.RawMessage {
	r.chunkMu.Lock()
	defer r.chunkMu.Unlock()
	if r.allSize >= r.s.c.MaxResultBytes-64 {
		return json.RawMessage("[]")
	}
	raw, err := Encode(r.all)
	if err != nil {
		return json.RawMessage("[]")
	}
	return raw
}
