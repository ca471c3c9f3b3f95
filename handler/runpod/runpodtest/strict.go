package runpodtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"
)

var postQuery = regexp.MustCompile(`^[^&]*&?isStream=(true|false)$`)

// check refuses what RunPod refuses. The refusal is a status; 0: none. Lock is held.
func (s *Server) check(r *Request, in *http.Request) int {
	key := in.Header.Values("Authorization")
	bare := len(key) == 1 && key[0] == Key
	if allowed := bare || s.Open && len(key) == 0; !allowed {
		s.violated("%s: the Authorization header is %q, not the bare key", r.Kind, key)
		return http.StatusUnauthorized
	}
	if strings.Contains(in.RequestURI, "$") {
		s.violated("%s: a placeholder is left in %s", r.Kind, in.RequestURI)
		return http.StatusBadRequest
	}
	if strings.Count(in.RequestURI, "?") > 1 || strings.Contains(in.RequestURI, "?&") || strings.Contains(in.RequestURI, "&&") {
		s.violated("%s: the query is malformed: %s", r.Kind, in.RequestURI)
		return http.StatusBadRequest
	}
	if in.Header.Get("User-Agent") == "" || strings.HasPrefix(in.Header.Get("User-Agent"), "Go-http-client") {
		s.violated("%s: the User-Agent does not name the worker", r.Kind)
	}
	switch r.Kind {
	case Take, Stop, Ping:
		return s.checkGet(r)
	case Final, Progress, Chunk:
		return s.checkPost(r)
	}
	s.violated("a request to an unknown address: %s", in.RequestURI)
	return http.StatusNotFound
}

func (s *Server) checkGet(r *Request) int {
	if r.Method != http.MethodGet || len(r.Body) > 0 {
		s.violated("%s: %s with %d bytes instead of a plain GET", r.Kind, r.Method, len(r.Body))
		return http.StatusMethodNotAllowed
	}
	if r.Kind != Ping && r.Header.Get("Content-Type") != "application/json" {
		s.violated("%s: the content type is %q", r.Kind, r.Header.Get("Content-Type"))
	}
	if r.Kind == Take && !strings.Contains(r.RawQuery, "job_in_progress=") {
		s.violated("take without job_in_progress: %s", r.RawQuery)
	}
	if batch := strings.Contains(r.Path, "/job-take-batch/"); r.Kind == Take && batch != (r.Batch > 1) {
		s.violated("take of %d jobs from %s", r.Batch, r.Path)
	}
	if r.Kind == Ping && !strings.Contains(r.RawQuery, "runpod_version=") {
		s.violated("ping without runpod_version: %s", r.RawQuery)
	}
	return 0
}

func (s *Server) checkPost(r *Request) int {
	h := r.Header
	if r.Method != http.MethodPost || h.Get("Content-Type") != "application/x-www-form-urlencoded" || h.Get("charset") != "utf-8" {
		s.violated("%s: %s with the content type %q, charset %q", r.Kind, r.Method, h.Get("Content-Type"), h.Get("charset"))
		return http.StatusUnsupportedMediaType
	}
	if h.Get("X-Request-ID") != r.JobID {
		s.violated("%s: X-Request-ID is %q at the address of the job %q", r.Kind, h.Get("X-Request-ID"), r.JobID)
		return http.StatusBadRequest
	}
	if !postQuery.MatchString(r.RawQuery) || r.Kind != Final && !strings.HasSuffix(r.RawQuery, "isStream=false") {
		s.violated("%s: the query is %q", r.Kind, r.RawQuery)
		return http.StatusBadRequest
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.Body, &fields) != nil || !utf8.Valid(r.Body) {
		s.violated("%s: the body is no JSON object: %.200q", r.Kind, r.Body)
		return http.StatusBadRequest
	}
	allowed := map[Kind]string{Final: " output error stopPod ", Progress: " status output ", Chunk: " output "}[r.Kind]
	for name := range fields {
		if !strings.Contains(allowed, " "+name+" ") {
			s.violated("%s: the body has the field %q", r.Kind, name)
			return http.StatusBadRequest
		}
	}
	if raw, ok := fields["error"]; ok {
		var text string
		if json.Unmarshal(raw, &text) != nil || bytes.Equal(raw, []byte("null")) || text == "" {
			s.violated("%s: the error is no text, or an empty one: %.200s", r.Kind, raw)
			return http.StatusBadRequest
		}
	}
	if _, ok := fields["output"]; !ok && fields["error"] == nil {
		s.violated("%s: neither an output nor an error", r.Kind)
		return http.StatusBadRequest
	}
	if len(r.Body) > 10<<20 {
		return http.StatusBadRequest
	}
	return 0
}
