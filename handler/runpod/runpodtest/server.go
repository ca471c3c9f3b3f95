// Package runpodtest is RunPod's side of the queue for tests: a real HTTP server that is as strict as the real one and a
// little stricter. It records every request, answers by script where a test wants something unusual, and fails the test when
// the worker does what a worker must not do.
//
// It knows the protocol and nothing of the worker.
package runpodtest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// The key and the worker's id that Env sets, and the query that RunPod puts into its addresses.
const (
	Key    = "rpa_CANARYKEY0123456789"
	Worker = "pod-abc123"
	Query  = "gpu=NVIDIA+RTX+A5000"
)

// Server is the queue. Its exported fields are set before the worker starts.
type Server struct {
	URL string

	// Hold is how long a poll waits for news before it is answered with 204.
	Hold time.Duration

	// Lease gives a job out again when neither a ping nor anything else has been heard of it for so long. 0: never.
	Lease time.Duration

	// Open takes requests without a key, as the Hub harness does.
	Open bool

	// Decide, if set, may answer any request that no script answers; nil: the usual answer.
	Decide func(Request) *Reply

	http *httptest.Server

	mu         sync.Mutex
	news       chan struct{} // closed and replaced when something changes
	closing    chan struct{}
	jobs       map[string]*job
	queue      []string // raw envelopes
	stops      []string
	unacked    map[string][]string // stop signals by the connection they went to
	scripts    map[Kind][]Reply
	always     map[Kind]Reply
	requests   []*Request
	violations []string
	expected   []string
	idle       map[net.Conn]bool
	epoch      int // of the worker's lives
}

// Start starts a server that ends with the test. Violations that Expect did not announce fail the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		Hold: 200 * time.Millisecond, news: make(chan struct{}), closing: make(chan struct{}), jobs: map[string]*job{}, unacked: map[string][]string{},
		scripts: map[Kind][]Reply{}, always: map[Kind]Reply{}, idle: map[net.Conn]bool{},
	}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.http.Config.ConnState = s.track
	s.http.Start()
	s.URL = s.http.URL
	t.Cleanup(func() {
		s.Close()
		for _, v := range s.Violations() {
			if !s.announced(v) {
				t.Errorf("the worker broke the protocol: %s", v)
			}
		}
	})
	return s
}

// Close ends the server; polls are answered.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.closing:
	default:
		close(s.closing)
	}
	s.mu.Unlock()
	s.http.CloseClientConnections()
	s.http.Close()
}

// CloseIdle closes the connections that wait for a request, so that only those in use count.
func (s *Server) CloseIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.idle {
		c.Close() //nolint:errcheck // nothing is under way on it
	}
}

func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.idle, c); state == http.StateIdle || state == http.StateNew {
		s.idle[c] = true
	}
}

// Env is what RunPod sets for a worker of this queue.
func (s *Server) Env() []string {
	base := s.URL + "/v2/ep1"
	return []string{
		"RUNPOD_WEBHOOK_GET_JOB=" + base + "/job-take/$RUNPOD_POD_ID?" + Query,
		"RUNPOD_WEBHOOK_POST_OUTPUT=" + base + "/job-done/$RUNPOD_POD_ID/$ID?" + Query,
		"RUNPOD_WEBHOOK_POST_STREAM=" + base + "/job-stream/$RUNPOD_POD_ID/$ID?" + Query,
		"RUNPOD_WEBHOOK_PING=" + base + "/ping/$RUNPOD_POD_ID?" + Query,
		"RUNPOD_PING_INTERVAL=1000",
		"RUNPOD_AI_API_KEY=" + Key,
		"RUNPOD_POD_ID=" + Worker,
		"RUNPOD_ENDPOINT_ID=ep1",
	}
}

// Expect announces a violation that contains the text.
func (s *Server) Expect(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected = append(s.expected, text)
}

func (s *Server) announced(violation string) bool {
	for _, text := range s.expected {
		if strings.Contains(violation, text) {
			return true
		}
	}
	return false
}

// Violations are the rules that the worker has broken so far.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.violations...)
}

// Lock is held. changed wakes whoever waits for something.
func (s *Server) changed() {
	close(s.news)
	s.news = make(chan struct{})
}
