package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	stopHold = 20 * time.Second // the queue answers a poll at the latest after this; news are told at once
	patience = 10 * time.Minute // for one job, on a machine that is busy with other things
	tick     = 3 * time.Millisecond

	repeatAfter = 15 // jobs, until one is given out again
)

// Counts of what happened to jobs, whatever they are.
const (
	inTime   = "cancelled in time"  // they had not ended when they were cancelled
	onceMore = "answered once more" // they were given out again after their result
)

// run is a run under way.
type run struct {
	*world
	o      options
	worker *worker
	mix    *mixer
	began  time.Time

	open    []*task
	left    int // jobs that are still to be drawn
	done    int
	again   []*task // jobs that are to be given out once more
	stopped []*job  // cancelled in time: nothing must ever come of them
	usual   time.Duration
	counts  map[string]int
	wrong   []string
	late    int // results of cancelled jobs that lay in the bucket already
	samples []sample
}

// task is a job that was given out.
type task struct {
	*job
	given  time.Time // to the queue
	taken  time.Time // by the worker
	cancel time.Time // when it will be cancelled; zero: not yet known
	second bool      // it was given out once more
	since  int       // jobs were done when it was
	keys   []string  // of its objects
}

// drive gives out all jobs, a few at a time, and lets the worker rest now and then.
func (r *run) drive(ctx context.Context) error {
	r.began = time.Now()
	nextLook, nextRest := r.began, r.o.rest
	for {
		if err := cmp.Or(ctx.Err(), r.worker.alive()); err != nil {
			return err
		}
		resting := r.done >= nextRest
		for !resting && r.left+len(r.again) > 0 && len(r.open) < r.o.concurrency+1 {
			r.give()
		}
		for _, t := range slices.Clone(r.open) {
			if err := r.follow(ctx, t); err != nil {
				return err
			}
		}
		if now := time.Now(); now.After(nextLook) {
			r.samples, nextLook = append(r.samples, r.look(r.worker, r.done, r.began)), now.Add(time.Second)
		}
		if len(r.open) == 0 && (resting || r.left == 0 && len(r.again) == 0) {
			if err := r.restNow(ctx); err != nil {
				return err
			}
			nextRest = r.done + r.o.rest
			if r.left == 0 && len(r.again) == 0 {
				return nil
			}
		}
		time.Sleep(tick)
	}
}

// give gives out the next job, or one of the earlier ones again.
func (r *run) give() {
	if len(r.again) > 0 && r.done > r.again[0].since+repeatAfter || r.left == 0 {
		t := r.again[0]
		r.again = r.again[1:]
		r.queue.Again(t.id)
		t.second, t.given = true, time.Now()
		r.open = append(r.open, t)
		return
	}
	j := r.mix.next()
	r.left--
	r.queue.GiveRaw(j.envelope)
	t := &task{job: j, given: time.Now()}
	if j.cancel.when == queued {
		t.cancel = t.given.Add(j.cancel.after)
	}
	r.open = append(r.open, t)
	r.counts[j.kind]++
}

// follow sees what has become of a job, and cancels it when it is time.
func (r *run) follow(ctx context.Context, t *task) error {
	fate := r.queue.Fate(t.id)
	if fate.Given > 0 && t.taken.IsZero() {
		t.taken = time.Now()
		if t.twice {
			r.queue.Again(t.id)
		}
		switch t.job.cancel.when {
		case running:
			t.cancel = t.taken.Add(t.job.cancel.after)
		case late:
			t.cancel = t.taken.Add(time.Duration(t.job.cancel.part * float64(r.usual)))
		}
	}
	switch {
	case fate.Cancelled:
		r.stopped = append(r.stopped, t.job)
		r.close(t)
	case t.second:
		if fate.Duplicate == 0 {
			break
		}
		r.close(t)
		r.counts[onceMore]++
		return r.remove(ctx, t.keys...)
	case fate.Result != "":
		return r.finished(ctx, t, fate.Result, fate.At)
	case !t.cancel.IsZero() && time.Now().After(t.cancel):
		r.queue.Cancel(t.id)
	}
	if time.Since(t.given) > patience {
		return fmt.Errorf("nothing has come of the job %s (%s, given out %d times) in %s:\n%.500s\n%s", t.id, t.kind, fate.Given, patience, t.envelope, r.worker.tail())
	}
	return nil
}

// finished checks a job's result.
func (r *run) finished(ctx context.Context, t *task, body string, at time.Time) error {
	r.close(t)
	if t.want.code == "" && !t.want.dryRun {
		took := at.Sub(t.taken)
		if r.usual == 0 {
			r.usual = took
		}
		r.usual += (took - r.usual) / 8
	}
	keys, err := r.check(ctx, t.job, body, r.done%10 == 0)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.wrong = append(r.wrong, fmt.Sprintf("%s (%s): %s: %.500s", t.id, t.kind, err, t.envelope))
	}
	if t.repeat && err == nil {
		t.keys, t.since = keys, r.done
		r.again = append(r.again, t)
		return nil
	}
	return r.remove(ctx, keys...)
}

// close ends the following of a job.
func (r *run) close(t *task) {
	r.open = slices.DeleteFunc(r.open, func(o *task) bool { return o == t })
	r.done++
	if t.second {
		r.done-- // it was counted
	}
	if r.o.tell != nil && r.done%50 == 0 {
		r.o.tell("%d of %d jobs in %s, %d wrong", r.done, r.o.jobs, time.Since(r.began).Round(time.Second), len(r.wrong))
	}
}

// restNow waits until the worker has nothing to do, and notes what it holds then. What is still there after ten seconds is left
// behind.
func (r *run) restNow(ctx context.Context) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		s := r.look(r.worker, r.done, r.began)
		s.Rest = true
		if s.TempFiles == 0 && s.Children == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // for what ends in the background, such as connections
	left, err := r.beyond(ctx)
	for ; err == nil && len(left) > 0 && time.Now().Before(deadline); left, err = r.beyond(ctx) {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	s := r.look(r.worker, r.done, r.began)
	s.Rest, s.Objects = true, len(left)
	if len(left) > 0 {
		s.Unexpected = left[0]
	}
	r.samples = append(r.samples, s)
	return nil
}

// beyond lists the objects that should not be in the bucket. A job that was cancelled when its result had been stored has left
// it there, which is no harm; it is removed.
func (r *run) beyond(ctx context.Context) ([]string, error) {
	keys, err := r.objects(ctx)
	if err != nil {
		return nil, err
	}
	var stored []string
	keys = slices.DeleteFunc(keys, func(key string) bool {
		if slices.ContainsFunc(r.again, func(t *task) bool { return slices.Contains(t.keys, key) }) {
			return true
		}
		id, name, _ := strings.Cut(key, "/")
		if name != "checkpoint" && slices.ContainsFunc(r.stopped, func(j *job) bool { return j.id == id }) {
			stored = append(stored, key)
			return true
		}
		return false
	})
	r.late += len(stored)
	return keys, r.remove(ctx, stored...)
}

// over checks what shows only at the end: nothing came of cancelled jobs, and no rule of the queue was broken.
func (r *run) over() error {
	for _, j := range r.stopped {
		if r.queue.Result(j.id) != "" {
			r.wrong = append(r.wrong, fmt.Sprintf("%s (%s): it was answered", j.id, j.kind))
		}
	}
	r.counts[inTime] = len(r.stopped)
	for _, v := range r.queue.Violations() {
		r.wrong = append(r.wrong, "the worker broke the protocol: "+v)
	}
	if last := r.samples[len(r.samples)-1]; last.TempFiles > 0 || last.Children > 0 || last.Objects > 0 {
		r.wrong = append(r.wrong, fmt.Sprintf("left behind: %d files, %d processes, %d objects (%s)", last.TempFiles, last.Children, last.Objects, last.Unexpected))
	}
	return errors.Join(r.worker.stop())
}
