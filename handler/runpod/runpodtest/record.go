package runpodtest

import (
	"net/http"
	"testing"
	"time"
)

// Kind is what a request is for.
type Kind string

const (
	Take     Kind = "take" // batch takes included
	Stop     Kind = "stop"
	Ping     Kind = "ping"
	Progress Kind = "progress"
	Chunk    Kind = "chunk"
	Final    Kind = "final"
)

// Request is what the worker sent and what became of it.
type Request struct {
	Kind     Kind
	Method   string
	Path     string // as it was sent
	RawQuery string
	Header   http.Header
	Body     []byte
	Worker   string   // from the path
	JobID    string   // from the path
	Pinged   []string // of a ping: the jobs that it names
	Batch    int      // of a take: how many jobs it asks for
	At       time.Time
	Ended    time.Time // zero: not yet
	Status   int       // what was answered; 0: nothing
	Gone     bool      // the worker did not wait for the answer
	epoch    int
}

// Reply is an answer by script.
type Reply struct {
	Status     int // 0: 200
	Body       string
	Type       string // "": application/json
	RetryAfter string
	Delay      time.Duration // before the answer
	Cut        bool          // the connection is closed instead of an answer
	After      bool          // the request is done as usual first; only its answer is this one
}

// Script answers the next requests of a kind, one reply each.
func (s *Server) Script(kind Kind, replies ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[kind] = append(s.scripts[kind], replies...)
}

// Always answers all requests of a kind that Script does not. Usual ends that.
func (s *Server) Always(kind Kind, reply Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always[kind] = reply
	s.changed()
}

// Usual ends Always.
func (s *Server) Usual(kind Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.always, kind)
}

// Lock is held.
func (s *Server) scripted(kind Kind) *Reply {
	if list := s.scripts[kind]; len(list) > 0 {
		s.scripts[kind] = list[1:]
		return &list[0]
	}
	if r, ok := s.always[kind]; ok {
		return &r
	}
	return nil
}

// Requests are those of a kind so far, in the order of their arrival. Requests that have not ended are among them.
func (s *Server) Requests(kind Kind) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Request
	for _, r := range s.requests {
		if r.Kind == kind {
			all = append(all, *r)
		}
	}
	return all
}

// Of are the requests of a kind for one job.
func (s *Server) Of(kind Kind, jobID string) []Request {
	var all []Request
	for _, r := range s.Requests(kind) {
		if r.JobID == jobID {
			all = append(all, r)
		}
	}
	return all
}

// Patience is how long Await waits: much longer than anything takes on a machine that is busy with other tests.
const Patience = 30 * time.Second

// Await waits for n requests of a kind and returns all there are.
func (s *Server) Await(t testing.TB, kind Kind, n int) []Request {
	t.Helper()
	s.Until(t, func() bool { return len(s.Requests(kind)) >= n }, "%d %s requests", n, kind)
	return s.Requests(kind)
}

// AwaitResult waits for a job's accepted result and returns its body.
func (s *Server) AwaitResult(t testing.TB, jobID string) string {
	t.Helper()
	s.Until(t, func() bool { return s.Result(jobID) != "" }, "a result of %s", jobID)
	return s.Result(jobID)
}

// Until waits for a condition.
func (s *Server) Until(t testing.TB, condition func() bool, what string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for "+what, args...)
		}
	}
}
