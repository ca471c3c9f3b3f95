package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// Server serves jobs to a Handler. Its fields are set before Serve and not changed afterwards; it serves once.
type Server struct {
	Config  Config
	Handler runpod.Handler
	Version string
	Log     *runpod.Log

	// Contract describes the inputs and outputs of jobs, for the documents that the server gives out.
	Contract Contract

	// Quick tells jobs that take next to nothing. They do not wait for the others; one of them runs at a time, beside
	// these. nil: there are none.
	Quick func(input json.RawMessage) bool

	// Prepare makes the handler ready while the server serves already. nil: it is ready.
	Prepare func(context.Context) error

	// Files serves the links of a store, whose paths begin with /files/; it checks their signatures. nil: there are none.
	Files http.Handler

	// Page serves / and what lies below /page/. nil: there is none.
	Page http.Handler

	// Webhooks posts to addresses that clients name, which may be anywhere.
	Webhooks *http.Client

	// UploadDir is an empty folder for the files that clients send. Its owner removes it.
	UploadDir string

	// Endpoint says what else a client may want to know of the handler; it becomes JSON.
	Endpoint func() any

	// WorkerID stands in the status of jobs.
	WorkerID string

	queue     *queue
	uploads   *uploads
	routes    map[string][]route // by where they are found
	document  json.RawMessage    // OpenAPI's
	prepared  atomic.Bool
	preparing sync.WaitGroup
	streams   atomic.Int32  // of events
	bodies    chan struct{} // large bodies that are being read

	hard    context.Context // ends when running jobs must stop at once
	endHard context.CancelCauseFunc
	over    chan struct{} // closed when nothing more is served

	webhooks      sync.WaitGroup
	webhookPlaces chan struct{}
	initOnce      sync.Once
}

// Contract is what jobs take and give.
type Contract struct {
	Input   json.RawMessage // the JSON Schema of an input
	Output  reflect.Type    // of a result
	Failure reflect.Type    // of the output of a failed job
	Chunk   reflect.Type    // of a chunk of a stream
}

// init makes what Stop needs, which may be called before Serve.
func (s *Server) init() {
	s.initOnce.Do(func() {
		s.hard, s.endHard = context.WithCancelCause(context.Background())
		s.over = make(chan struct{})
	})
}

func (s *Server) open() error {
	s.init()
	if err := s.Config.Validate(); err != nil {
		return err
	}
	s.queue, s.uploads = newQueue(s), newUploads(s.UploadDir)
	s.webhookPlaces, s.bodies = make(chan struct{}, webhooksAtOnce), make(chan struct{}, 8)
	s.routes = map[string][]route{}
	for _, r := range table() {
		s.routes[r.at()] = append(s.routes[r.at()], r)
	}
	var err error
	if s.Contract.Input != nil {
		if s.Contract.Input, err = withUploads(s.Contract.Input); err != nil {
			return fmt.Errorf("the schema of inputs: %w", err)
		}
	}
	s.document, err = s.openAPI()
	return err
}

// How long a server that ends waits for what is not jobs.
const (
	webhookFlush = time.Minute      // longer than all tries of a webhook
	lastLook     = 10 * time.Second // for clients that poll, to read how a job ended
	closing      = 5 * time.Second  // for open requests
)

// Serve serves until ctx ends. Then it takes nothing more, finishes the jobs that run, and returns when their ends are
// known to their webhooks and to clients that poll. Stop shortens that.
func (s *Server) Serve(ctx context.Context, listeners []net.Listener) error {
	if err := s.open(); err != nil {
		return err
	}
	server := &http.Server{
		Handler: s.guard(http.HandlerFunc(s.dispatch)), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: log.New(netLog{s.Log.Logger}, "", 0),
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	go s.queue.janitor()
	s.prepare(ctx)

	var err error
	select {
	case <-ctx.Done():
	case <-s.hard.Done():
	case err = <-failed:
	}
	s.finish()
	end, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if server.Shutdown(end) != nil {
		server.Close() //nolint:errcheck // there is nothing else to do
	}
	s.Log.Info().Msg("The server has ended.")
	return err
}

// Stop is for when there is no time: running jobs are stopped, and Serve returns within seconds. It may be called at any
// time.
func (s *Server) Stop() {
	s.init()
	s.endHard(errStopped)
}

func (s *Server) prepare(ctx context.Context) {
	if s.Prepare == nil {
		s.prepared.Store(true)
		return
	}
	s.preparing.Go(func() {
		if err := s.Prepare(ctx); err != nil && ctx.Err() == nil {
			s.Log.Warn().Err(err).Msg("The models are not ready; jobs will say why.")
		}
		s.prepared.Store(true)
	})
}

// finish ends the jobs.
func (s *Server) finish() {
	began := time.Now()
	s.Log.Info().Int("running", s.queue.health().Jobs.InProgress).Msg("Shutting down. Jobs that run are finished; a second signal stops them.")
	s.queue.drain()
	s.await(s.queue.running.Wait, 0)
	s.await(s.webhooks.Wait, webhookFlush)
	for s.hard.Err() == nil && s.queue.unread(began) {
		time.Sleep(50 * time.Millisecond)
	}
	s.endHard(errStopped)
	s.await(s.preparing.Wait, stopTime)
	close(s.over)
}

// await waits for work to end; a limit of 0 is none. When there is no time it waits for a moment only.
func (s *Server) await(wait func(), limit time.Duration) {
	ended := make(chan struct{})
	go func() {
		wait()
		close(ended)
	}()
	var out <-chan time.Time
	if limit > 0 {
		out = time.After(limit)
	}
	select {
	case <-ended:
	case <-out:
	case <-s.hard.Done():
		select {
		case <-ended:
		case <-time.After(stopTime):
			s.Log.Warn().Msg("Something does not end; the server ends without it.")
		}
	}
}

// netLog logs what net/http has to say, which is about connections.
type netLog struct{ zerolog.Logger }

func (l netLog) Write(line []byte) (int, error) {
	l.Debug().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}

// problem writes an answer other than 200.
func (s *Server) problem(w http.ResponseWriter, err error) {
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		s.Log.Error().Err(err).Msg("A request failed.")
		r = refuse(http.StatusInternalServerError, "internal", "", "The request failed inside the server; its log has the cause.")
	}
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(max(1, int(r.retryAfter.Seconds()))))
	}
	write(w, r.status, r.Problem)
}

// write writes JSON. A client that does not read is given up after a while.
func write(w http.ResponseWriter, status int, v any) {
	body, err := runpod.Encode(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"The answer cannot be written.","code":"internal"}`)
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(30 * time.Second)) //nolint:errcheck // every connection has one
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)+1))
	w.WriteHeader(status)
	w.Write(append(body, '\n')) //nolint:errcheck // the client has left
}
