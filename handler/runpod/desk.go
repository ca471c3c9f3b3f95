package runpod

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// desk knows which jobs are under way and how those before them ended. It alone decides whether a job is run, whether it
// is cancelled, and whether there is a result to post; one lock makes these decisions exclude each other.
type desk struct {
	mu     sync.Mutex
	open   map[string]*entry
	ledger *ledger
}

// entry is a job under way: taken and not yet answered.
type entry struct {
	id     string
	ctx    context.Context // ends with ErrCancelled; everything that is done for the job hangs on it
	cancel context.CancelCauseFunc
	last   *record // of a job that has been run
}

// ErrCancelled is the cause (context.Cause) of a job's context when RunPod cancelled the job: nobody will ask for it again.
var ErrCancelled = errors.New("RunPod cancelled the job")

type admission int

const (
	fresh     admission = iota // run it
	underway                   // it runs, or its result is being posted
	answered                   // it has been run; post the result again
	cancelled                  // it must not run
)

func newDesk(l *ledger) *desk { return &desk{open: map[string]*entry{}, ledger: l} }

// admit opens a job, unless there is a reason not to.
func (d *desk) admit(id string) (*entry, admission) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[id] != nil {
		return nil, underway
	}
	last := d.ledger.recall(id)
	if last != nil && last.stopped() {
		return nil, cancelled
	}
	e := d.enter(id, last)
	if last != nil {
		return e, answered
	}
	return e, fresh
}

// leftovers opens the jobs whose results RunPod does not have, after a start.
func (d *desk) leftovers() []*entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*entry
	for id, r := range d.ledger.records {
		if r.State == statePending && d.open[id] == nil && !d.ledger.expired(r) {
			all = append(all, d.enter(id, r))
		}
	}
	return all
}

func (d *desk) enter(id string, last *record) *entry {
	e := &entry{id: id, last: last}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	d.open[id] = e
	return e
}

// cancel ends a job, now or when it comes in. It reports whether the job was under way.
func (d *desk) cancel(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.open[id]
	r := record{ID: id, State: stateCancelled}
	if last := d.ledger.recall(id); last != nil && last.State == stateDelivered { // still not to be run again
		r.State, r.Failed = stateDelivered, last.Failed
	}
	d.ledger.keep(r)
	if e != nil {
		e.cancel(ErrCancelled)
	}
	return e != nil
}

// keep remembers how a job ended; false: it has been cancelled, which is how it ended.
func (d *desk) keep(e *entry, r record) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	r.ID = e.id
	d.ledger.keep(r)
	return true
}

// leave closes a job: it is no longer reported as in progress.
func (d *desk) leave(e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, e.id)
	e.cancel(context.Canceled)
}

// ids are the jobs under way.
func (d *desk) ids() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.open))
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

func (d *desk) busy() bool { return d.count() > 0 }
