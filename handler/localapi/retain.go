package localapi

import (
	"slices"
	"time"
)

// retain forgets what finished jobs leave when it is old, or when there is too much of it: the oldest first.
func (q *queue) retain(now time.Time) {
	bytes, count := 0, len(q.order)
	for _, j := range q.order {
		if j.state.Final() {
			bytes += j.size()
		}
	}
	q.order = slices.DeleteFunc(q.order, func(j *job) bool {
		keep := retention
		if j.quick {
			keep = quickRetention
		}
		old := now.Sub(j.ended) >= keep || count > maxJobs || bytes > maxKept
		if !j.state.Final() || j.cancel != nil || !old {
			return false
		}
		bytes -= j.size()
		count--
		q.unlist(j)
		return true
	})
}

func (q *queue) unlist(j *job) {
	if j.ttl != nil {
		j.ttl.Stop()
	}
	if q.jobs[j.id] == j {
		delete(q.jobs, j.id)
	}
	j.tell() // who waits for it finds that it is gone
}

// forget removes a finished job.
func (q *queue) forget(j *job) {
	q.unlist(j)
	q.order = slices.DeleteFunc(q.order, func(other *job) bool { return other == j })
}

// janitor forgets what is old, until the server ends.
func (q *queue) janitor() {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			q.mu.Lock()
			q.retain(now)
			q.mu.Unlock()
			q.s.uploads.sweep(now)
		case <-q.s.over:
			return
		}
	}
}

// unread reports whether somebody may still want to know how a job ended, after the server was told to end and not long
// ago.
func (q *queue) unread(told time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.order, func(j *job) bool {
		return j.state.Final() && !j.read && j.ended.After(told) && time.Since(j.ended) < lastLook
	})
}

// history lists jobs, newest first.
func (q *queue) history(limit int) []Entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]Entry, 0, min(limit, len(q.order)))
	for _, j := range slices.Backward(q.order) {
		if len(all) == limit {
			break
		}
		if !j.quick {
			all = append(all, q.entry(j))
		}
	}
	return all
}

func (q *queue) entry(j *job) Entry {
	e := Entry{Status: j.status(q.position(j), q.s.WorkerID, time.Now()), CreatedAt: j.first.UTC(), Input: j.short}
	if j.state.Final() {
		e.FinishedAt = j.ended.UTC()
	}
	return e
}

// one is a job's entry.
func (q *queue) one(id string) (Entry, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j, err := q.find(id)
	if err != nil {
		return Entry{}, err
	}
	j.read = j.read || j.state.Final()
	return q.entry(j), nil
}
