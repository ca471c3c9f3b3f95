//go:build long

package faults_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// moment is a point of a job that a world can stop at: reached is closed there, and nothing goes on until the worker is
// dead.
type moment struct {
	once    sync.Once
	reached chan struct{}
	over    chan struct{} // closed when the worker is dead
}

func newMoment() *moment { return &moment{reached: make(chan struct{}), over: make(chan struct{})} }

func (m *moment) here() { m.once.Do(func() { close(m.reached) }) }

// hold is here for good.
func (m *moment) hold() {
	m.here()
	<-m.over
}

// source gives out a file.
type source struct {
	url   string
	stall atomic.Pointer[moment] // not nil: the first half comes, and no more
}

func startSource(t *testing.T, file string) *source {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	s := new(source)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		m := s.stall.Load()
		if m == nil {
			w.Write(data) //nolint:errcheck // the worker may be gone
			return
		}
		w.Write(data[:len(data)/2])           //nolint:errcheck // the worker may be gone
		http.NewResponseController(w).Flush() //nolint:errcheck // the worker may be gone
		m.hold()
	}))
	t.Cleanup(server.Close)
	s.url = server.URL + "/voice.wav"
	return s
}

// restart starts the worker anew after a kill.
func (w *world) restart() {
	w.t.Helper()
	w.queue.Restarted()
	w.start()
}

// kill kills the worker.
func (w *world) kill() {
	w.cmd.Process.Kill() //nolint:errcheck // its state is looked at
	<-w.ended
}
