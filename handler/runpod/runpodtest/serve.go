package runpodtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serve records a request, checks it, and answers it by script or as usual.
func (s *Server) serve(w http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(in.Body)
	if err != nil {
		return
	}
	path, _, _ := strings.Cut(in.RequestURI, "?")
	r := &Request{Method: in.Method, Path: path, RawQuery: in.URL.RawQuery, Header: in.Header, Body: body, At: time.Now(), Batch: 1}
	s.classify(r, in)

	s.mu.Lock()
	r.epoch = s.epoch
	s.requests = append(s.requests, r)
	refusal := s.check(r, in)
	reply := s.scripted(r.Kind)
	s.mu.Unlock()
	if reply == nil && s.Decide != nil {
		reply = s.Decide(*r)
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		r.Ended, r.Gone = time.Now(), in.Context().Err() != nil
	}()

	answer := Reply{Status: refusal}
	if refusal == 0 && (reply == nil || reply.After) {
		answer = s.usual(r, in)
	}
	if reply != nil {
		s.sleep(in, reply.Delay)
		if *reply != (Reply{Delay: reply.Delay, After: true}) { // a delayed usual answer
			answer = *reply
		}
	}
	if answer.Cut {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			c.Close() //nolint:errcheck // that is the point
		}
		return
	}
	s.write(w, r, answer)
}

func (s *Server) write(w http.ResponseWriter, r *Request, a Reply) {
	if a.Status == 0 {
		a.Status = 200
	}
	if a.Type == "" {
		a.Type = "application/json"
	}
	if a.RetryAfter != "" {
		w.Header().Set("Retry-After", a.RetryAfter)
	}
	w.Header().Set("Content-Type", a.Type)
	s.mu.Lock()
	r.Status = a.Status
	if j := s.jobs[r.JobID]; r.Kind == Final && j != nil && j.result == string(r.Body) && a.Status < 400 && r.epoch == s.epoch {
		j.told = true
	}
	s.mu.Unlock()
	w.WriteHeader(a.Status)
	io.WriteString(w, a.Body) //nolint:errcheck // a worker that is gone does not need it
}

// sleep ends early when the worker or the test has had enough.
func (s *Server) sleep(in *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-in.Context().Done():
	case <-s.closing:
	}
}

// classify reads a request's address.
func (s *Server) classify(r *Request, in *http.Request) {
	parts := strings.Split(strings.Trim(in.URL.Path, "/"), "/")
	r.Kind = Kind("unknown " + in.URL.Path)
	for i, part := range parts {
		rest := parts[i+1:]
		switch part {
		case "job-take", "job-take-batch", "next": // the last is an address without the usual segment
			r.Kind = Take
			if n, err := strconv.Atoi(in.URL.Query().Get("batch_size")); err == nil {
				r.Batch = n
			}
		case "job-stop":
			r.Kind = Stop
		case "ping":
			r.Kind = Ping
			if ids := in.URL.Query().Get("job_id"); ids != "" {
				r.Pinged = strings.Split(ids, ",")
			}
		case "job-stream":
			r.Kind = Chunk
		case "job-done":
			r.Kind = Final
			var p struct{ Status string }
			if json.Unmarshal(r.Body, &p) == nil && p.Status == "IN_PROGRESS" {
				r.Kind = Progress
			}
		default:
			continue
		}
		if len(rest) > 0 {
			r.Worker = rest[0]
		}
		if len(rest) > 1 {
			r.JobID = rest[1]
		}
		return
	}
}

// usual is what the queue does when no script says otherwise.
func (s *Server) usual(r *Request, in *http.Request) Reply {
	switch r.Kind {
	case Take:
		return s.poll(in, func() *Reply {
			jobs := s.next(r.Batch)
			if len(jobs) == 0 {
				return nil
			}
			if strings.Contains(r.Path, "/job-take-batch/") {
				return &Reply{Body: "[" + strings.Join(jobs, ",") + "]"}
			}
			return &Reply{Body: jobs[0]}
		})
	case Stop:
		return s.poll(in, func() *Reply {
			for _, id := range s.unacked[in.RemoteAddr] { // the worker asks again, so it has read these
				s.job(id).stopped = time.Now()
			}
			delete(s.unacked, in.RemoteAddr)
			if len(s.stops) == 0 {
				return nil
			}
			ids := s.stops
			s.stops, s.unacked[in.RemoteAddr] = nil, ids
			raw, _ := json.Marshal(map[string]any{"jobsToStop": ids})
			return &Reply{Body: string(raw)}
		})
	case Ping:
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, id := range r.Pinged {
			if j := s.jobs[id]; j != nil {
				j.heard = time.Now()
			}
		}
		return Reply{Body: "{}"}
	case Final, Progress, Chunk:
		return s.posted(r)
	}
	return Reply{Status: http.StatusNotFound}
}

// poll answers as soon as news gives an answer, which it does under the lock.
func (s *Server) poll(in *http.Request, news func() *Reply) Reply {
	timer := time.NewTimer(s.Hold)
	defer timer.Stop()
	var tick <-chan time.Time
	if s.Lease > 0 {
		ticker := time.NewTicker(s.Lease / 4)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		s.mu.Lock()
		if in.Context().Err() != nil {
			s.mu.Unlock()
			return Reply{Cut: true}
		}
		if r := news(); r != nil {
			s.mu.Unlock()
			return *r
		}
		changed := s.news
		s.mu.Unlock()
		select {
		case <-changed:
		case <-tick:
		case <-timer.C:
			return Reply{Status: http.StatusNoContent}
		case <-in.Context().Done():
		case <-s.closing:
			return Reply{Status: http.StatusNoContent}
		}
	}
}

// onItsWay is how long a post may travel that was sent before the worker read the stop signal.
const onItsWay = 250 * time.Millisecond

// posted accepts a result, a progress or a chunk, or does not.
func (s *Server) posted(r *Request) Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[r.JobID]
	if j == nil || j.given == 0 {
		s.violated("%s for the job %q, which was never given out", r.Kind, r.JobID)
		return Reply{Status: http.StatusNotFound}
	}
	j.heard = time.Now()
	if j.cancelled {
		if !j.stopped.IsZero() && r.At.Sub(j.stopped) > onItsWay {
			s.violated("%s for the job %s after the worker was told to stop it", r.Kind, j.id)
		}
		return Reply{Status: http.StatusNotFound, Body: `{"error":"no such job"}`}
	}
	if j.result != "" {
		if r.Kind != Final {
			s.violated("%s for the job %s after its result", r.Kind, j.id)
		} else if j.duplicate++; j.told {
			s.violated("a second result for the job %s, whose first one was accepted", j.id)
		}
		return Reply{Status: http.StatusBadRequest, Body: `{"error":"the job is finished"}`}
	}
	if r.Kind == Final {
		if i := slices.IndexFunc(s.requests, func(o *Request) bool {
			return o.JobID == j.id && o.Kind == Progress && o.Ended.IsZero()
		}); i >= 0 {
			s.violated("the result of the job %s while a progress post is under way", j.id)
		}
		j.result, j.at = string(r.Body), time.Now()
		s.changed()
	}
	return Reply{Body: "{}"}
}

// violated notes a broken rule. Lock is held.
func (s *Server) violated(format string, args ...any) {
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}
