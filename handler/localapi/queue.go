package localapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// queue holds all jobs that are known. Its methods may be called at the same time.
type queue struct {
	s *Server

	mu       sync.Mutex
	jobs     map[string]*job
	order    []*job // as they came
	waiting  []*job // for a place
	quick    []*job // for the place of quick jobs, which do not wait behind slow ones
	free     int    // places
	quickOne bool   // the place of quick jobs is taken
	draining bool
	counts   HealthJobs

	running sync.WaitGroup // handlers
}

func newQueue(s *Server) *queue {
	return &queue{s: s, jobs: map[string]*job{}, free: s.Config.Concurrency}
}

// add takes a job. The job that it returns is the one that is known under the id.
func (q *queue) add(j *job) (*job, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.draining {
		return nil, shuttingDown()
	}
	if there := q.jobs[j.id]; there != nil {
		same := there.inputID == j.inputID
		switch {
		case same && (!there.state.Final() || there.state == Completed):
			return there, nil
		case !there.state.Final():
			return nil, refuse(http.StatusConflict, "id_in_use", "id", "Another job is waiting or running under this id; choose another one, or wait for it to end.")
		case there.cancel != nil:
			return nil, stillStopping()
		}
	}
	if err := q.hasRoom(len(j.work.Input)); err != nil {
		return nil, err
	}
	if err := q.s.uploads.hold(j.uploads); err != nil {
		return nil, err
	}
	if there := q.jobs[j.id]; there != nil {
		q.forget(there)
	}
	j.first = time.Now()
	q.jobs[j.id] = j
	q.order = append(q.order, j)
	q.enqueue(j)
	return j, nil
}

func (q *queue) enqueue(j *job) {
	j.created = time.Now()
	if ttl := time.Duration(j.work.Policy.TTL) * time.Millisecond; ttl > 0 && j.ttl == nil {
		j.ttl = time.AfterFunc(ttl, func() { q.expire(j) })
	}
	if j.quick {
		q.quick = append(q.quick, j)
	} else {
		q.waiting = append(q.waiting, j)
	}
	q.retain(time.Now())
	q.pump()
}

// hasRoom refuses what the queue cannot take.
func (q *queue) hasRoom(input int) error {
	waiting := slices.Concat(q.waiting, q.quick)
	for _, j := range waiting {
		input += len(j.work.Input)
	}
	if len(waiting) >= q.s.Config.Queue || input > maxWaiting {
		r := refuse(http.StatusTooManyRequests, "queue_full", "", "%d jobs are waiting with %d MB of input, and there may be %d with %d MB: wait for one to end, or cancel some.",
			len(waiting), input>>20, q.s.Config.Queue, maxWaiting>>20)
		r.retryAfter = 5 * time.Second
		return r
	}
	return nil
}

// pump starts jobs while there are places.
func (q *queue) pump() {
	for q.free > 0 && len(q.waiting) > 0 {
		j := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.free--
		q.start(j)
	}
	if !q.quickOne && len(q.quick) > 0 {
		j := q.quick[0]
		q.quick = q.quick[1:]
		q.quickOne = true
		q.start(j)
	}
	for _, j := range q.waiting { // their positions have changed
		j.tell()
	}
}

func (q *queue) start(j *job) {
	ctx, cancel := context.WithCancelCause(q.s.hard)
	j.state, j.begun, j.cancel = InProgress, time.Now(), cancel
	j.tell()
	q.running.Add(1)
	go q.s.run(ctx, j, j.work)
}

// left is called when a job's handler has returned. It reports whether that was the job's end, and not a cancellation or a
// limit before.
func (q *queue) left(j *job, a answer) (ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.running.Done()
	ended = q.end(j, a)
	j.cancel(nil)
	j.cancel = nil
	if j.quick {
		q.quickOne = false
	} else {
		q.free++
	}
	q.s.uploads.release(j.uploads)
	q.pump()
	return ended
}

// end ends a job, unless it has ended: the first end counts.
func (q *queue) end(j *job, a answer) bool {
	if j.state.Final() {
		return false
	}
	waited := j.state == InQueue
	j.state, j.output, j.failure, j.ended = a.state, a.output, a.failure, time.Now()
	switch j.state {
	case Completed:
		q.counts.Completed++
		if j.chunks.count == 0 { // a stream's readers get the result as its only chunk
			j.chunks.waiting = []json.RawMessage{j.output}
		}
	case Failed, TimedOut:
		q.counts.Failed++
	}
	if j.work.Webhook != "" {
		q.s.notify(j.work, j.status(0, q.s.WorkerID, j.ended))
	}
	if j.state == Completed || len(j.work.Input) > maxRetryInput {
		j.work = runpod.Job{ID: j.id, Policy: j.work.Policy}
	}
	if waited {
		q.s.uploads.release(j.uploads)
	}
	j.tell()
	q.retain(j.ended)
	return true
}

// find returns the job of an id.
func (q *queue) find(id string) (*job, error) {
	if j := q.jobs[id]; j != nil {
		return j, nil
	}
	return nil, refuse(http.StatusNotFound, "job_not_found", "id", "There is no job of this id here. Finished jobs are forgotten after %.0f minutes, and all of them when the server ends.", retention.Minutes())
}

// status is what is known of a job, and a channel that is closed when that changes.
func (q *queue) status(id string) (Status, <-chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, err := q.find(id)
	if err != nil {
		return Status{}, nil, err
	}
	return q.view(j), j.changed, nil
}

func (q *queue) view(j *job) Status {
	j.read = j.read || j.state.Final()
	return j.status(q.position(j), q.s.WorkerID, time.Now())
}

func (q *queue) position(j *job) int {
	line := q.waiting
	if j.quick {
		line = q.quick
	}
	return slices.Index(line, j) + 1
}

// cancelJob ends a job for its client. A finished one stays as it is.
func (q *queue) cancelJob(id string) (Status, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, err := q.find(id)
	if err != nil {
		return Status{}, err
	}
	if !j.state.Final() {
		q.stop(j, answer{state: Cancelled})
		q.pump()
	}
	return q.view(j), nil
}

// stop ends a job that waits or runs.
func (q *queue) stop(j *job, a answer) {
	same := func(other *job) bool { return other == j }
	q.waiting, q.quick = slices.DeleteFunc(q.waiting, same), slices.DeleteFunc(q.quick, same)
	if j.cancel != nil {
		j.cancel(runpod.ErrCancelled)
	}
	q.end(j, a)
}

// expire ends the life that a job's policy gave it.
func (q *queue) expire(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.jobs[j.id] != j {
		return
	}
	if !j.state.Final() {
		q.stop(j, q.s.failed(TimedOut, runpod.Fail("ttl", "The job was not done within policy.ttl, %d ms.", j.work.Policy.TTL)))
		q.pump()
	}
	q.forget(j)
}

// retry runs a job again that did not succeed.
func (q *queue) retry(id string) (Status, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, err := q.find(id)
	switch {
	case err != nil:
		return Status{}, err
	case q.draining:
		return Status{}, shuttingDown()
	case !j.state.Final() || j.state == Completed:
		return Status{}, refuse(http.StatusConflict, "not_failed", "id", "The job is %s; only one that FAILED, TIMED_OUT or was CANCELLED can be run again.", j.state)
	case j.cancel != nil:
		return Status{}, stillStopping()
	case j.work.Input == nil:
		return Status{}, refuse(http.StatusConflict, "input_dropped", "id", "The job's input was too large to be kept (%d MB); send the job again.", maxRetryInput>>20)
	}
	if err := q.hasRoom(len(j.work.Input)); err != nil {
		return Status{}, err
	}
	if err := q.s.uploads.hold(j.uploads); err != nil {
		return Status{}, err
	}
	j.state, j.output, j.failure, j.report, j.chunks = InQueue, nil, "", progress{}, chunks{}
	j.begun, j.ended, j.read = time.Time{}, time.Time{}, false
	j.retries++
	q.counts.Retried++
	j.tell()
	q.enqueue(j)
	return q.view(j), nil
}

// purge cancels the jobs that wait.
func (q *queue) purge() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := slices.Concat(q.waiting, q.quick)
	for _, j := range all {
		q.stop(j, answer{state: Cancelled})
	}
	return len(all)
}

// drain takes nothing more, and fails what waits.
func (q *queue) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.draining = true
	for _, j := range slices.Concat(q.waiting, q.quick) {
		q.stop(j, q.s.failed(Failed, stopped("begun")))
	}
}

func (q *queue) drains() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.draining
}

func stopped(when string) error {
	return &runpod.JobError{Code: "worker_shutdown", Message: "The server was shut down before the job was " + when + "; send it again.", Details: map[string]any{"retryable": true}}
}

func shuttingDown() error {
	return refuse(http.StatusServiceUnavailable, "shutting_down", "", "The server is shutting down; send the job to another one.")
}

func stillStopping() error {
	r := refuse(http.StatusConflict, "still_stopping", "id", "The job has been stopped but has not ended yet; try again in a few seconds.")
	r.retryAfter = time.Second
	return r
}

// health counts.
func (q *queue) health() (h Health) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h.Jobs = q.counts
	h.Jobs.InQueue = len(q.waiting) + len(q.quick)
	for _, j := range q.order {
		switch {
		case j.state == InProgress:
			h.Jobs.InProgress++
		case j.cancel != nil && !j.quick && time.Since(j.ended) > stopTime:
			h.Workers.Unhealthy++
		}
	}
	h.Workers.Running = q.s.Config.Concurrency - q.free - h.Workers.Unhealthy
	h.Workers.Idle, h.Workers.Ready = q.free, q.free
	if !q.s.prepared.Load() {
		h.Workers.Initializing, h.Workers.Idle, h.Workers.Ready = q.free, 0, 0
	}
	return h
}
