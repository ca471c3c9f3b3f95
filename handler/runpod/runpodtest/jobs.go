package runpodtest

import (
	"encoding/json"
	"fmt"
	"time"
)

// job is what the queue knows of one. Its lock is the server's.
type job struct {
	id        string
	envelope  string
	given     int // times it was given out
	heard     time.Time
	result    string // the accepted one
	at        time.Time
	waiting   bool // to be given out again
	told      bool // the worker got the answer to its accepted result
	cancelled bool
	stopped   time.Time // when the worker had read the stop signal; zero: not known to have
	duplicate int       // further results
}

// Give queues a job with an input, any JSON text.
func (s *Server) Give(id, input string) {
	s.GiveRaw(fmt.Sprintf(`{"id":%q,"input":%s}`, id, input))
}

// GiveRaw queues an envelope as it is, or a job once more.
func (s *Server) GiveRaw(envelope string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, envelope)
	s.changed()
}

// Again queues a job once more, whatever has become of it.
func (s *Server) Again(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[id]; j != nil {
		s.queue = append(s.queue, j.envelope)
		s.changed()
	}
}

// Cancel cancels a job: nothing is taken for it any more, and the stop channel says so.
func (s *Server) Cancel(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.job(id)
	if j.result != "" {
		return
	}
	j.cancelled = true
	s.stops = append(s.stops, id)
	s.changed()
}

// Result is a job's accepted result, or nothing.
func (s *Server) Result(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[id]; j != nil {
		return j.result
	}
	return ""
}

// Restarted tells the server that the worker was killed: what it was last told it may not know.
func (s *Server) Restarted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	for _, j := range s.jobs {
		j.told = false
	}
}

// Fate is what became of a job.
type Fate struct {
	Given     int
	Result    string
	At        time.Time // of the accepted result
	Cancelled bool
	Stopped   time.Time // when the worker had read the stop signal; zero: not known to have
	Duplicate int       // results after the accepted one
}

// Fate tells what became of a job.
func (s *Server) Fate(id string) Fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id]
	if j == nil {
		return Fate{}
	}
	return Fate{Given: j.given, Result: j.result, At: j.at, Cancelled: j.cancelled, Stopped: j.stopped, Duplicate: j.duplicate}
}

// Lock is held.
func (s *Server) job(id string) *job {
	j := s.jobs[id]
	if j == nil {
		j = &job{id: id}
		s.jobs[id] = j
	}
	return j
}

// next takes up to n jobs off the queue. Lock is held. Cancelled jobs are only given out if the worker knows that they are.
func (s *Server) next(n int) []string {
	s.expire()
	var out []string
	for len(out) < n && len(s.queue) > 0 {
		envelope := s.queue[0]
		s.queue = s.queue[1:]
		var e struct{ ID any }
		json.Unmarshal([]byte(envelope), &e) //nolint:errcheck // tests give out broken ones, too
		if e.ID != nil {
			j := s.job(fmt.Sprint(e.ID))
			if j.cancelled && j.stopped.IsZero() {
				continue
			}
			j.envelope, j.heard, j.told, j.waiting = envelope, time.Now(), false, false
			j.given++
		}
		out = append(out, envelope)
	}
	return out
}

// expire queues the jobs that nobody has been heard of. Lock is held.
func (s *Server) expire() {
	if s.Lease == 0 {
		return
	}
	for _, j := range s.jobs {
		if j.given > 0 && j.result == "" && !j.cancelled && !j.waiting && time.Since(j.heard) > s.Lease {
			j.waiting = true
			s.queue = append(s.queue, j.envelope)
		}
	}
}
