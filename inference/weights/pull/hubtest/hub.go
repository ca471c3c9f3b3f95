// Package hubtest is a strict stand-in of the model hub for tests: two servers of this machine, one that knows what files
// there are and one that has the large ones, as the hub does it. It notes every request that the real ones would not like,
// and makes trouble when told to.
package hubtest

import (
	"crypto/sha1" // git's name for a content
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Hub is the stand-in. Set its fields before the first request.
type Hub struct {
	URL string // of the endpoint

	Token       string // what readers must show; empty: nothing
	Connections int    // at once; more are a violation. 0: any number
	Trouble     Trouble

	hub, cdn *httptest.Server

	mu         sync.Mutex
	files      map[string]*file // by repository/revision/path
	blobs      map[string]*file // by signature
	quiet      map[string]quiet // by server: no request may come
	violations []string
	signatures int
	stats      Stats
	open       int
}

// Stats are what has been asked for and sent.
type Stats struct {
	Requests    int
	Sent        int64 // bytes of files
	Connections int   // the most at once
}

type quiet struct{ from, until time.Time }

type file struct {
	name    string // path in the repository
	content []byte
	large   bool
	sha256  string
	git     string
	commit  string // what the hub says it is of
}

// Start starts the servers. Close ends them.
func Start() *Hub {
	h := &Hub{files: map[string]*file{}, blobs: map[string]*file{}, quiet: map[string]quiet{}}
	h.hub = httptest.NewServer(h.count(h.serveHub))
	h.cdn = httptest.NewServer(h.count(h.serveBlob))
	h.URL = h.hub.URL
	return h
}

// Close ends the servers, with what they are sending.
func (h *Hub) Close() {
	h.hub.CloseClientConnections()
	h.cdn.CloseClientConnections()
	h.hub.Close()
	h.cdn.Close()
}

// largeFrom is the size from which the hub keeps files elsewhere.
const largeFrom = 20_000

// Add puts a file into a repository.
func (h *Hub) Add(repo, revision, path string, content []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := sha256.Sum256(content)
	git := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	h.files[repo+"/"+revision+"/"+path] = &file{name: path, content: content, large: len(content) >= largeFrom,
		sha256: hex.EncodeToString(sum[:]), git: hex.EncodeToString(git[:]), commit: revision}
}

// Digest is how the hub names a file's content: by SHA-256 a large one, as git does a small one.
func (h *Hub) Digest(repo, path string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, f := range h.files {
		if strings.HasPrefix(key, repo+"/") && f.name == path {
			if f.large {
				return f.sha256
			}
			return f.git
		}
	}
	return ""
}

// Move makes the hub say that the files of a revision are of another commit.
func (h *Hub) Move(revision, commit string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.files {
		if f.commit == revision {
			f.commit = commit
		}
	}
}

// Violations are the requests that a client of the real hub must not send.
func (h *Hub) Violations() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.violations...)
}

// Stats returns what has been counted.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

// NewClient forgets who was told to stay away: a process that begins cannot know what the last one heard.
func (h *Hub) NewClient() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.quiet)
}

func (h *Hub) violation(r *http.Request, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, fmt.Sprintf(format, args...)))
}

// tolerance is how long after an answer that asked to stay away requests may still come: they were under way.
const tolerance = 500 * time.Millisecond

// count wraps a server with what both of them watch.
func (h *Hub) count(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		h.mu.Lock()
		h.stats.Requests++
		h.open++
		h.stats.Connections = max(h.stats.Connections, h.open)
		tooMany := h.Connections > 0 && h.open > h.Connections
		q := h.quiet[r.Host]
		h.mu.Unlock()
		defer func() {
			h.mu.Lock()
			h.open--
			h.mu.Unlock()
		}()
		if tooMany {
			h.violation(r, "more than %d requests at once", h.Connections)
		}
		if now.After(q.from.Add(tolerance)) && now.Before(q.until) {
			h.violation(r, "came %s after it was told to stay away for %s", now.Sub(q.from), q.until.Sub(q.from))
		}
		if r.Header.Get("Accept-Encoding") != "identity" {
			h.violation(r, "Accept-Encoding is %q: sizes would be those of compressed files", r.Header.Get("Accept-Encoding"))
		}
		if r.UserAgent() != "humo-worker" {
			h.violation(r, "comes from %q", r.UserAgent())
		}
		next(w, r)
	})
}

// serveHub answers for files: a redirect with the facts in its headers for a large one, the file for a small one, with a
// relative redirect before it.
func (h *Hub) serveHub(w http.ResponseWriter, r *http.Request) {
	repo, rest, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/")
	cache := false
	if !ok {
		repo, rest, ok = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve-cache/")
		cache = true
	}
	revision, path, _ := strings.Cut(rest, "/")
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.violation(r, "no request that the hub knows")
		http.NotFound(w, r)
		return
	}
	if h.Token != "" && r.Header.Get("Authorization") != "Bearer "+h.Token {
		w.Header().Set("X-Error-Code", "GatedRepo")
		http.Error(w, "access is restricted", http.StatusUnauthorized)
		return
	}
	if h.Trouble.answer(h, w, r, path) {
		return
	}
	h.mu.Lock()
	f := h.files[repo+"/"+revision+"/"+path]
	h.mu.Unlock()
	if f == nil {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", f.commit)
	switch {
	case f.large:
		w.Header().Set("X-Linked-Etag", `"`+f.sha256+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(f.content)))
		http.Redirect(w, r, h.cdn.URL+"/blob?signature="+h.sign(f), http.StatusFound)
	case !cache:
		http.Redirect(w, r, "/"+repo+"/resolve-cache/"+revision+"/"+path, http.StatusTemporaryRedirect)
	default:
		w.Header().Set("ETag", `W/"`+f.git+`"`)
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", strconv.Itoa(len(f.content)))
			return
		}
		h.sendRange(w, r, f, "")
	}
}

// sign makes an address of the other server for a file.
func (h *Hub) sign(f *file) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signatures++
	s := fmt.Sprintf("%08d-%s", h.signatures, f.sha256[:8])
	h.blobs[s] = f
	return s
}

// serveBlob sends parts of large files to whoever has a signed address.
func (h *Hub) serveBlob(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		h.violation(r, "the token was handed to another host")
		http.Error(w, "only one way to say who you are", http.StatusBadRequest)
		return
	}
	if r.Method != http.MethodGet {
		h.violation(r, "nothing but GET is signed")
	}
	h.mu.Lock()
	signature := r.URL.Query().Get("signature")
	f := h.blobs[signature]
	h.mu.Unlock()
	if f == nil || h.Trouble.expired(signature) {
		http.Error(w, "expired", http.StatusForbidden)
		return
	}
	if h.Trouble.answer(h, w, r, f.name) {
		return
	}
	etag := `"` + f.sha256[:32] + `-1"`
	w.Header().Set("ETag", etag)
	h.sendRange(w, r, f, etag)
}

// sendRange sends the part of a file that is asked for. Anything but one range of known ends is a violation.
func (h *Hub) sendRange(w http.ResponseWriter, r *http.Request, f *file, etag string) {
	from, to, size := 0, 0, len(f.content)
	if n, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n != 2 || err != nil || from > to || to >= size {
		h.violation(r, "range %q of a file of %d bytes", r.Header.Get("Range"), size)
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	if tag := r.Header.Get("If-Range"); tag != "" && tag != etag {
		h.violation(r, "If-Range %s and the file is %s", tag, etag)
	}
	content := f.content[from : to+1]
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, size))
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusPartialContent)
	h.Trouble.send(h, w, f, content, from)
}
