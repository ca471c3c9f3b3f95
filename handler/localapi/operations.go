package localapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The waits of a request, in milliseconds, as RunPod has them.
const (
	minWait  = 1000
	maxWait  = 300_000
	syncWait = 90_000
)

func (s *Server) runJob(w http.ResponseWriter, r *http.Request, _ string) error {
	j, err := s.accept(w, r, maxRunBody)
	if err != nil {
		return err
	}
	status, _, err := s.queue.status(j.id)
	if err != nil {
		return err
	}
	ticket := Ticket{j.id, status.State}
	if ticket.Status == InProgress { // RunPod's answer, whatever has happened since
		ticket.Status = InQueue
	}
	write(w, http.StatusOK, ticket)
	return nil
}

func (s *Server) runSync(w http.ResponseWriter, r *http.Request, _ string) error {
	wait, err := waitOf(r, syncWait)
	if err != nil {
		return err
	}
	j, err := s.accept(w, r, maxRunSyncBody)
	if err != nil {
		return err
	}
	return s.awaitEnd(w, r, j.id, wait)
}

// accept takes the job of a body.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, limit int64) (*job, error) {
	body, err := s.body(w, r, limit)
	if err != nil {
		return nil, err
	}
	request, err := readRequest(body)
	if err != nil {
		return nil, err
	}
	return s.submit(request)
}

// body reads a body. Few large ones are read at the same time.
func (s *Server) body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > 1<<20 {
		select {
		case s.bodies <- struct{}{}:
			defer func() { <-s.bodies }()
		case <-time.After(30 * time.Second):
			return nil, refuse(http.StatusTooManyRequests, "too_many_bodies", "", "Too many large requests arrive at the same time; try again.")
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	defer timely(w, time.Minute)()
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	return data, unread(err, limit)
}

// timely bounds the time that a body may take to arrive. The bound must not outlast that: it would end waits.
func timely(w http.ResponseWriter, limit time.Duration) (arrived func()) {
	c := http.NewResponseController(w)
	c.SetReadDeadline(time.Now().Add(limit))         //nolint:errcheck // every connection has one
	return func() { c.SetReadDeadline(time.Time{}) } //nolint:errcheck // every connection has one
}

func unread(err error, limit int64) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(http.StatusRequestEntityTooLarge, "too_large", "", "The body has more than %.0f MB; send files to /uploads first, or name them by their https address.", float64(limit)/1e6)
	}
	if _, ok := errors.AsType[*refusal](err); err != nil && !ok {
		return refuse(http.StatusBadRequest, "incomplete_body", "", "The body did not arrive as a whole, or not in time.")
	}
	return err
}

// waitOf reads ?wait=, which is brought into its limits as RunPod does.
func waitOf(r *http.Request, missing int) (time.Duration, error) {
	ms, err := number(r, "wait", missing)
	return time.Duration(min(max(ms, minWait), maxWait)) * time.Millisecond, err
}

func number(r *http.Request, name string, missing int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, refuse(http.StatusBadRequest, "wrong_type", name, "%s must be a whole number.", name)
	}
	return n, nil
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request, id string) error {
	status, _, err := s.queue.status(id)
	if err == nil {
		write(w, http.StatusOK, status)
	}
	return err
}

func (s *Server) statusSync(w http.ResponseWriter, r *http.Request, id string) error {
	wait, err := waitOf(r, syncWait)
	if err != nil {
		return err
	}
	return s.awaitEnd(w, r, id, wait)
}

// awaitEnd answers with a job's status when the job or the wait has ended.
func (s *Server) awaitEnd(w http.ResponseWriter, r *http.Request, id string, wait time.Duration) error {
	return s.longPoll(w, r, wait, func(now bool) (any, <-chan struct{}, error) {
		status, changed, err := s.queue.status(id)
		if status.State.Final() || now {
			changed = nil
		}
		return status, changed, err
	})
}

// longPoll answers with what ask says. As long as ask gives a channel, too, it is asked again when that is closed; when the wait or
// the server's time is over it is told to answer now. A client that leaves does not stop the job.
func (s *Server) longPoll(w http.ResponseWriter, r *http.Request, wait time.Duration, ask func(now bool) (any, <-chan struct{}, error)) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for now := false; ; {
		answer, changed, err := ask(now)
		if err != nil {
			return err
		}
		if changed == nil {
			write(w, http.StatusOK, answer)
			return nil
		}
		select {
		case <-changed:
		case <-timer.C:
			now = true
		case <-s.over:
			now = true
		case <-r.Context().Done():
			return nil
		}
	}
}

func (s *Server) cancel(w http.ResponseWriter, _ *http.Request, id string) error {
	status, err := s.queue.cancelJob(id)
	if err == nil {
		write(w, http.StatusOK, status)
	}
	return err
}

func (s *Server) retry(w http.ResponseWriter, _ *http.Request, id string) error {
	status, err := s.queue.retry(id)
	if err == nil {
		write(w, http.StatusOK, Ticket{status.ID, InQueue})
	}
	return err
}

func (s *Server) purge(w http.ResponseWriter, _ *http.Request, _ string) error {
	write(w, http.StatusOK, Purge{Removed: s.queue.purge(), Status: "completed"})
	return nil
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request, _ string) error {
	write(w, http.StatusOK, s.queue.health())
	return nil
}

func (s *Server) listJobs(w http.ResponseWriter, r *http.Request, _ string) error {
	limit, err := number(r, "limit", 100)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, History{s.queue.history(min(max(limit, 1), maxJobs))})
	return nil
}

func (s *Server) oneJob(w http.ResponseWriter, _ *http.Request, id string) error {
	entry, err := s.queue.one(id)
	if err == nil {
		write(w, http.StatusOK, entry)
	}
	return err
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request, _ string) error {
	if s.queue.drains() {
		return shuttingDown()
	}
	if r.ContentLength > maxUpload {
		return unread(&http.MaxBytesError{Limit: maxUpload}, maxUpload)
	}
	defer timely(w, 10*time.Minute)()
	stored, err := s.uploads.put(http.MaxBytesReader(w, r.Body, maxUpload), mediaType(r.Header.Get("Content-Type")), label(r.Header.Get("X-Filename")))
	if err != nil {
		return unread(err, maxUpload)
	}
	write(w, http.StatusOK, stored)
	return nil
}

// getUpload gives a file back. It is shown as what it is only where that is harmless.
func (s *Server) getUpload(w http.ResponseWriter, r *http.Request, id string) error {
	f, kind, label, err := s.uploads.open(id)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	w.Header().Set("Content-Type", kind)
	if label != "" {
		w.Header().Set("X-Filename", label)
	}
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// mediaType is what a file is served as that a client called so.
func mediaType(given string) string {
	kind, _, err := mime.ParseMediaType(given)
	if err == nil && (strings.HasPrefix(kind, "audio/") || strings.HasPrefix(kind, "video/") || slices.Contains(pictures, kind)) {
		return kind
	}
	return "application/octet-stream"
}

var pictures = []string{"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/avif"}

// label keeps a client's name for a file, if it is escaped as names in headers have to be.
func label(given string) string {
	if name, err := url.PathUnescape(given); err != nil || len(given) > 1000 || strings.ContainsFunc(given, func(c rune) bool { return c < ' ' || c > '~' }) || name == "" {
		return ""
	}
	return given
}

func (s *Server) dropUpload(w http.ResponseWriter, _ *http.Request, id string) error {
	err := s.uploads.remove(id)
	if err == nil {
		write(w, http.StatusOK, Nothing{})
	}
	return err
}

func (s *Server) info(w http.ResponseWriter, _ *http.Request, _ string) error {
	var endpoint any
	if s.Endpoint != nil {
		endpoint = s.Endpoint()
	}
	write(w, http.StatusOK, Info{
		Version: s.Version, Concurrency: s.Config.Concurrency, KeyRequired: s.Config.Key != "",
		Endpoint: endpoint, Limits: Limits{Run: maxRunBody, RunSync: maxRunSyncBody, Upload: maxUpload, Uploads: maxUploads, Queue: s.Config.Queue},
	})
	return nil
}

func (s *Server) schema(w http.ResponseWriter, _ *http.Request, _ string) error {
	write(w, http.StatusOK, s.Contract.Input)
	return nil
}

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request, _ string) error {
	write(w, http.StatusOK, s.document)
	return nil
}

func (s *Server) alive(w http.ResponseWriter, _ *http.Request, _ string) error {
	write(w, http.StatusOK, Nothing{})
	return nil
}
