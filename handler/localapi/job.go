package localapi

import (
	"context"
	"encoding/json"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// job is a job from its arrival until it is forgotten. The queue's lock guards it.
type job struct {
	id      string
	work    runpod.Job // Input is dropped when it is of no more use
	inputID [32]byte   // tells inputs apart, after they are dropped, too
	short   json.RawMessage
	uploads []string
	quick   bool

	state   State
	retries int
	created time.Time // of this try
	first   time.Time // of the first one
	begun   time.Time // zero: it never ran
	ended   time.Time
	read    bool // somebody was told how it ended

	cancel  context.CancelCauseFunc // while its handler runs, also after a cancellation
	ttl     *time.Timer
	report  progress
	output  json.RawMessage
	failure string
	chunks  chunks
	changed chan struct{} // closed with every change
}

// progress is what a handler last reported.
type progress struct {
	raw   json.RawMessage
	stage string
	step  int
	steps int
	since time.Time // of the stage
	from  int       // the stage's first step that was reported
}

// chunks is what a job has streamed and nobody has fetched.
type chunks struct {
	waiting []json.RawMessage
	bytes   int
	newest  json.RawMessage
	count   int // all that there were
}

func (c *chunks) add(raw json.RawMessage) {
	c.waiting, c.newest = append(c.waiting, raw), raw
	c.bytes += len(raw)
	c.count++
	for c.bytes > maxChunks && len(c.waiting) > 1 {
		c.bytes -= len(c.waiting[0])
		c.waiting = c.waiting[1:]
	}
}

// drain takes what is waiting. It is never nil: SDKs read a list.
func (c *chunks) drain() []Chunk {
	all := make([]Chunk, len(c.waiting))
	for i, raw := range c.waiting {
		all[i].Output = raw
	}
	c.waiting, c.bytes = nil, 0
	return all
}

// size is what a finished job takes of memory.
func (j *job) size() int {
	return len(j.work.Input) + len(j.short) + len(j.output) + len(j.failure) + j.chunks.bytes + len(j.chunks.newest)
}

// tell wakes those who wait for a change.
func (j *job) tell() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// reported notes a progress value. An object's stage, step and steps are what the time left is reckoned from.
func (j *job) reported(raw json.RawMessage, now time.Time) {
	var v struct {
		Stage string `json:"stage"`
		Step  int    `json:"step"`
		Steps int    `json:"steps"`
	}
	json.Unmarshal(raw, &v) //nolint:errcheck // any other value is shown as it is
	r := &j.report
	if r.raw == nil || v.Stage != r.stage {
		r.since, r.from = now, v.Step
	}
	r.raw, r.stage, r.step, r.steps = raw, v.Stage, v.Step, v.Steps
}

// status is what a client is told. position is the job's place in the queue.
func (j *job) status(position int, workerID string, now time.Time) Status {
	s := Status{ID: j.id, State: j.state, Error: j.failure, Retries: j.retries, Output: j.output}
	if !j.begun.IsZero() {
		end := now
		if j.state.Final() {
			end = j.ended
		}
		s.DelayTime, s.ExecutionTime, s.WorkerID = new(j.begun.Sub(j.created).Milliseconds()), new(end.Sub(j.begun).Milliseconds()), workerID
	} else if j.state.Final() {
		s.DelayTime, s.ExecutionTime = new(j.ended.Sub(j.created).Milliseconds()), new(int64(0))
	}
	switch j.state {
	case InQueue:
		s.Progress = &Progress{QueuePosition: position}
	case InProgress:
		s.Output = j.report.raw
		s.Progress = j.report.status(j.begun, now)
	}
	return s
}

func (r *progress) status(begun, now time.Time) *Progress {
	p := &Progress{Stage: r.stage, Step: r.step, Steps: r.steps, ElapsedS: seconds(now.Sub(begun))}
	if r.raw == nil {
		return p
	}
	spent := now.Sub(r.since)
	p.StageElapsedS = seconds(spent)
	if done := r.step - r.from; done > 0 && r.step <= r.steps {
		p.ETAS = seconds(spent / time.Duration(done) * time.Duration(r.steps-r.step))
	}
	return p
}

// seconds are to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
