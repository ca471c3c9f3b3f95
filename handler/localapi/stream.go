package localapi

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// stream answers as soon as there is a chunk, or when the job or the wait has ended: SDKs ask in a tight loop.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, id string) error {
	wait, err := waitOf(r, minWait)
	if err != nil {
		return err
	}
	return s.longPoll(w, r, wait, func(now bool) (any, <-chan struct{}, error) { return s.queue.drainChunks(id, now) })
}

// drainChunks takes the chunks of a job. Where there are none yet it gives the channel to wait for, unless it is told not
// to.
func (q *queue) drainChunks(id string, now bool) (Stream, <-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, err := q.find(id)
	if err != nil {
		return Stream{}, nil, err
	}
	if len(j.chunks.waiting) == 0 && !j.state.Final() && !now {
		return Stream{}, j.changed, nil
	}
	j.read = j.read || j.state.Final()
	return Stream{ID: j.id, Status: j.state, Stream: j.chunks.drain()}, nil, nil
}

// How often followers of a job hear of it.
const (
	eventPause = 500 * time.Millisecond // at the most
	eventBeat  = 15 * time.Second       // at the least, so that dead connections are noticed
)

// events sends a job's status and the newest chunk of its stream with every change, until the job has ended.
func (s *Server) events(w http.ResponseWriter, r *http.Request, id string) error {
	if s.streams.Add(1) > maxEventStream {
		s.streams.Add(-1)
		return refuse(http.StatusTooManyRequests, "too_many_streams", "", "There are %d streams of events already; ask for /status instead.", maxEventStream)
	}
	defer s.streams.Add(-1)
	if _, _, err := s.queue.status(id); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies must not collect
	control := http.NewResponseController(w)
	send := func(text []byte) bool {
		control.SetWriteDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // every connection has one
		_, err := w.Write(text)
		return err == nil && control.Flush() == nil
	}
	beat := time.NewTicker(eventBeat)
	defer beat.Stop()
	for seen := 0; ; {
		text, state, changed := s.queue.event(id, &seen)
		if !send(text) || state.Final() {
			return nil
		}
		for pause := time.After(eventPause); changed != nil || pause != nil; {
			select {
			case <-pause:
				pause = nil
			case <-changed:
				changed = nil
			case <-beat.C:
				if !send([]byte(":\n\n")) {
					return nil
				}
			case <-s.over:
				return nil
			case <-r.Context().Done():
				return nil
			}
		}
	}
}

// event is what a follower is told who has seen so many chunks. A job that is gone has ended.
func (q *queue) event(id string, seen *int) ([]byte, State, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, err := q.find(id)
	if err != nil {
		return nil, Cancelled, nil
	}
	var out bytes.Buffer
	tell := func(name string, v any) {
		if data, err := runpod.Encode(v); err == nil {
			fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", name, data)
		}
	}
	if j.chunks.count != *seen && j.chunks.newest != nil {
		*seen = j.chunks.count
		tell("chunk", Chunk{j.chunks.newest})
	}
	status := q.view(j)
	tell("status", status)
	return out.Bytes(), status.State, j.changed
}
