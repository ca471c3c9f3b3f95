package runpod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// Worker works for a queue. Its fields are set before Run and not changed afterwards; it runs once.
type Worker struct {
	Config  Config
	Handler Handler

	// Version is the program's, for the User-Agent and RunPod's statistics.
	Version string

	// Prestart makes the worker ready, for instance by loading a model. It runs beside the heartbeat and, with
	// WORKER_EAGER_TAKE, the first take; handlers wait for it. An error fails the jobs that wait, and ends Run.
	Prestart func(context.Context) error

	// Checks run one after another before anything else. The first that fails is reported to RunPod and ends Run.
	Checks []Check

	// Log is where to log to. nil: NewLog on the standard output.
	Log *Log

	stopOnce sync.Once
	stopped  chan struct{}
	initOnce sync.Once
}

// session is one Run.
type session struct {
	c       Config
	t       Timing
	version string
	log     zerolog.Logger
	redact  *Redactor
	handler Handler
	to      addresses
	api     *client
	desk    *desk
	places  *places
	gate    gate

	prestartHook func(context.Context) error
	progress     bool          // progress posts are made
	lateResults  chan struct{} // results retried after their place was released

	taking    context.Context // ends with drain
	endTaking context.CancelFunc
	draining  <-chan struct{}         // = taking.Done()
	hard      context.Context         // ends when running jobs must stop at once
	endHard   context.CancelCauseFunc //
	posting   context.Context         // ends when results under way are given up
	endPosts  context.CancelFunc
	drainOnce sync.Once

	handling   atomic.Int64   // jobs before their result
	running    sync.WaitGroup // the same, to wait for
	delivering sync.WaitGroup // jobs before the end of their delivery
}

// Main runs the worker until the first SIGTERM or SIGINT, which ends it in order; a second one stops it at once. It returns
// the exit code: 0 for every planned end, 1 if the worker cannot work.
func (w *Worker) Main(ctx context.Context) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	over := make(chan struct{})
	defer close(over)
	go func() {
		for _, then := range []func(){cancel, w.Stop} {
			select {
			case <-signals:
				then()
			case <-over:
				return
			}
		}
	}()
	if err := w.Run(ctx); err != nil {
		w.logs().Error().Msg(err.Error())
		return 1
	}
	return 0
}

// Run works until ctx ends or a job asks for a fresh worker; then it takes nothing more, finishes the jobs that run, has
// their results accepted and returns nil. Stop shortens that. An error means that the worker cannot work: its settings are
// wrong, a check or Prestart failed.
func (w *Worker) Run(ctx context.Context) error {
	s, err := w.open()
	if err != nil {
		return err
	}
	defer s.api.close()
	defer s.desk.ledger.close()
	if err := s.fitness(ctx, w.Checks); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}

	endPings := s.pings()
	defer context.AfterFunc(ctx, func() { s.drain("the worker was told to") })()
	defer context.AfterFunc(s.taking, s.boundGrace)()
	go func() {
		select {
		case <-w.halt():
			s.drain("the worker was told to stop at once")
		case <-s.draining:
		}
	}()
	var background sync.WaitGroup
	stopCtx, endStops := context.WithCancel(context.WithoutCancel(ctx))
	background.Go(func() { s.stopLoop(stopCtx) })
	for _, e := range s.desk.leftovers() {
		s.delivering.Add(1)
		log := s.log.With().Str("job", e.id).Logger()
		log.Info().Msg("The result of a job before the last start is posted.")
		go s.again(e, log)
	}
	var starting sync.WaitGroup
	if s.prestartHook == nil {
		close(s.gate.done)
	} else {
		starting.Go(func() { s.prestart(s.taking) })
	}
	if !s.c.EagerTake {
		select {
		case <-s.gate.done:
		case <-s.draining:
		}
	}
	s.takeLoop(s.taking)
	s.drain("nothing more is taken")

	halted := s.finish(w.halt())
	waitFor(starting.Wait, s.t.Kill/2, w.halt())
	endStops()
	background.Wait()
	endPings(!halted)
	if s.gate.failed() {
		return fmt.Errorf("the worker cannot be started: %w", s.gate.err)
	}
	s.log.Info().Msg("The worker has ended.")
	return nil
}

// Stop is for when there is no time: running jobs are cancelled, nothing more is waited for, and Run returns within
// seconds. It may be called at any time.
func (w *Worker) Stop() {
	stopped := w.halt()
	w.stopOnce.Do(func() { close(stopped) })
}

func (w *Worker) halt() chan struct{} {
	w.initOnce.Do(func() { w.stopped = make(chan struct{}) })
	return w.stopped
}

func (w *Worker) logs() *Log {
	if w.Log == nil {
		w.Log = NewLog(os.Stdout, w.Config, os.Environ())
	}
	return w.Log
}

// open puts a session together.
func (w *Worker) open() (*session, error) {
	c := w.Config
	if c.Timing == (Timing{}) {
		c.Timing = DefaultTiming()
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if w.Handler == nil {
		return nil, errors.New("the worker has no handler")
	}
	logs := w.logs()
	s := &session{
		c: c, t: c.Timing, log: logs.Logger, redact: logs.Redactor, handler: w.Handler, prestartHook: w.Prestart,
		version: cmp.Or(c.ReportedVersion, "go-runpod/"+cmp.Or(w.Version, "dev")), progress: c.progressWorks(),
		places: newPlaces(c.Concurrency), lateResults: make(chan struct{}, maxLate), gate: gate{done: make(chan struct{})},
	}
	id := c.workerID()
	s.to = newAddresses(c, id)
	s.api = newClient(c, cmp.Or(w.Version, "dev"))
	s.taking, s.endTaking = context.WithCancel(context.Background())
	s.draining = s.taking.Done()
	s.hard, s.endHard = context.WithCancelCause(context.Background())
	s.posting, s.endPosts = context.WithCancel(context.Background())
	l, err := openLedger(c.stateDir(), id, c.Timing, logs.Logger)
	if err != nil {
		return nil, err
	}
	s.desk = newDesk(l)

	if _, known := c.Level(); !known {
		s.log.Warn().Msg("RUNPOD_LOG_LEVEL is no level that is known here; INFO is used.")
	}
	s.log.Info().Str("worker", id).Str("take", withoutSecrets(s.to.take)).Str("output", withoutSecrets(s.to.output)).Msg("The worker starts.")
	if left := s.to.unfilled(); len(left) > 0 {
		s.log.Warn().Msg("RunPod's addresses hold placeholders that are not known here: " + strings.Join(left, " "))
	}
	if c.RealtimePort != "" && c.RealtimePort != "0" {
		s.log.Warn().Msg("RUNPOD_REALTIME_PORT is set, but this worker serves the queue only.")
	}
	return s, nil
}

func (s *session) jobLog(job Job) zerolog.Logger {
	with := s.log.With().Str("job", job.ID)
	if job.BatchID != "" {
		with = with.Str(batchKey, job.BatchID)
	}
	return with.Logger()
}

// drain ends the taking, a poll under way included.
func (s *session) drain(why string) {
	s.drainOnce.Do(func() {
		s.log.Info().Str("because", why).Msgf("Shutting down. Jobs in progress: %d", s.desk.count())
		s.endTaking()
	})
}

// boundGrace stops the jobs that run longer than a shutdown may take.
func (s *session) boundGrace() {
	if grace := s.c.ShutdownGrace; grace > 0 && pause(s.hard, grace) {
		s.log.Warn().Stringer("grace", grace).Msg("WORKER_SHUTDOWN_GRACE is over; running jobs are stopped.")
		s.endHard(errStopped)
	}
}

// finish waits for running jobs and then for their results, until halt says that there is no time.
func (s *session) finish(halt <-chan struct{}) (halted bool) {
	halted = !waitFor(s.running.Wait, 0, s.either(halt))
	s.endHard(errStopped)
	if halted {
		waitFor(s.running.Wait, s.t.Kill/2, nil)
	}
	limit := s.t.Flush
	if halted {
		limit, halt = s.t.Kill/4, nil
	}
	if !waitFor(s.delivering.Wait, limit, halt) {
		s.log.Warn().Msgf("Results that RunPod has not taken: %d", s.desk.count())
	}
	s.endPosts()
	waitFor(s.delivering.Wait, time.Second, nil)
	return halted
}

// either is closed when halt is, or when the grace is over.
func (s *session) either(halt <-chan struct{}) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		defer close(out)
		select {
		case <-halt:
		case <-s.hard.Done():
		}
	}()
	return out
}
