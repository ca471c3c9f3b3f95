package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// hub speaks with the endpoint, and with the hosts that it sends us to.
type hub struct {
	endpoint *url.URL
	token    string
	client   *http.Client
	limits   limits
	log      zerolog.Logger

	mu   sync.Mutex
	away map[string]time.Time // when each host wants to hear from us again
}

func newHub(cfg Config, log zerolog.Logger) (*hub, error) {
	endpoint, err := cfg.endpoint()
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = cfg.limits.connections
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true) // HTTP/2 would send all parts through one connection, and many are the point
	return &hub{
		endpoint: endpoint, token: cfg.Token, limits: cfg.limits, log: log, away: map[string]time.Time{},
		client: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

func (h *hub) close() { h.client.CloseIdleConnections() }

// address is where the endpoint serves a file.
func (h *hub) address(f weights.File) *url.URL {
	return h.endpoint.JoinPath(f.Repo, "resolve", f.Revision, f.Source)
}

// facts are what the hub says about a file.
type facts struct {
	Size   int64
	SHA256 string // of a large file
	Git    string // of a small one: the SHA-1 that git gives its content
}

// look asks for the facts, and holds them against the pinned revision and the table.
func (h *hub) look(ctx context.Context, f weights.File) (facts, error) {
	var got facts
	err := h.persist(ctx, f.Path, func() (_ bool, err error) {
		got, err = h.ask(ctx, f)
		return false, err
	})
	if err != nil {
		return facts{}, err
	}
	if f.Bytes > 0 && got.Size != f.Bytes {
		return facts{}, fault.New("bad_download", f.Path, "%s says that the file has %d bytes; the published one has %d. Check HF_ENDPOINT",
			h.endpoint.Host, got.Size, f.Bytes)
	}
	if got.SHA256 != "" && !strings.HasPrefix(got.SHA256, f.SHA256) {
		return facts{}, fault.New("bad_download", f.Path, "%s says that the file's SHA-256 begins with %s; that of the published one with %s. Check HF_ENDPOINT",
			h.endpoint.Host, got.SHA256[:min(16, len(got.SHA256))], f.SHA256)
	}
	return got, nil
}

// ask sends one HEAD request. A large file's facts are headers of the redirect to where it lies; a small one's are those
// of the answer.
func (h *hub) ask(ctx context.Context, f weights.File) (facts, error) {
	var commit string
	enough := func(r *http.Response) bool {
		if commit == "" {
			commit = r.Header.Get("X-Repo-Commit")
		}
		return r.StatusCode < 400 && r.Header.Get("X-Linked-Etag") != "" && r.Header.Get("X-Linked-Size") != ""
	}
	r, err := h.follow(ctx, http.MethodHead, h.address(f), nil, enough)
	if err != nil {
		return facts{}, err
	}
	_ = r.Body.Close()
	tag, size := r.Header.Get("X-Linked-Etag"), r.Header.Get("X-Linked-Size")
	if !enough(r) {
		if r.StatusCode != http.StatusOK {
			return facts{}, h.refusal(r, f, false)
		}
		if tag == "" {
			tag = r.Header.Get("ETag")
		}
		if size == "" {
			size = r.Header.Get("Content-Length")
		}
	}
	if commit != f.Revision {
		return facts{}, fault.New("revision_moved", f.Path, "the hub answers with commit %q of %s instead of the pinned %s, so the file may be another one. Check HF_ENDPOINT, or use a newer humo-worker",
			commit, f.Repo, f.Revision)
	}
	var got facts
	got.Size, err = strconv.ParseInt(size, 10, 64)
	switch tag = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`); {
	case err != nil || got.Size < 0 || !hexadecimal.MatchString(tag):
		return facts{}, fault.New("hub_answer", f.Path, "%s does not say the file's size and digest as the hub does; check HF_ENDPOINT", h.endpoint.Host)
	case len(tag) == 64:
		got.SHA256 = tag
	default:
		got.Git = tag
	}
	return got, nil
}

var hexadecimal = regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{40})$`)

// source is where a file's bytes come from: the endpoint, or the signed address that it sent us to, while that is good.
type source struct {
	file weights.File
	size int64

	mu   sync.Mutex
	at   *url.URL
	etag string // of the answers from there
}

// open asks for the bytes from..to of a file. Every error but a fault is an *again.
func (h *hub) open(ctx context.Context, s *source, from, to int64) (io.ReadCloser, error) {
	s.mu.Lock()
	at, etag := s.at, s.etag
	s.mu.Unlock()
	if at == nil {
		at, etag = h.address(s.file), ""
	}
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, to-1)}}
	if etag != "" {
		header.Set("If-Range", etag)
	}
	r, err := h.follow(ctx, http.MethodGet, at, header, nil)
	if err != nil {
		s.learn(nil, "")
		return nil, err
	}
	whole := r.StatusCode == http.StatusOK && from == 0 && to == s.size && r.ContentLength == s.size
	if !whole && r.StatusCode != http.StatusPartialContent {
		_ = r.Body.Close()
		s.learn(nil, "")
		if r.StatusCode != http.StatusOK {
			return nil, h.refusal(r, s.file, !sameOrigin(r.Request.URL, h.endpoint))
		}
		if etag != "" { // what lies there is not what did when the pull began
			return nil, &again{errors.New("the file changed at the address that was in use")}
		}
		return nil, fault.New("hub_answer", s.file.Path, "%s sends the whole file when a part is asked for; check HF_ENDPOINT, or a proxy", r.Request.URL.Host)
	}
	if want := fmt.Sprintf("bytes %d-%d/%d", from, to-1, s.size); !whole && r.Header.Get("Content-Range") != want {
		_ = r.Body.Close()
		s.learn(nil, "")
		return nil, &again{fmt.Errorf("asked for %s and got %q", want, r.Header.Get("Content-Range"))}
	}
	if etag = r.Header.Get("ETag"); strings.HasPrefix(etag, "W/") {
		etag = "" // no validator of bytes
	}
	if sameOrigin(r.Request.URL, h.endpoint) {
		s.learn(nil, "")
	} else {
		s.learn(r.Request.URL, etag)
	}
	return r.Body, nil
}

func (s *source) learn(at *url.URL, etag string) {
	s.mu.Lock()
	s.at, s.etag = at, etag
	s.mu.Unlock()
}

// refusal says what an answer other than success means. signed: the address was one that the endpoint had signed.
func (h *hub) refusal(r *http.Response, f weights.File, signed bool) error {
	status, host := r.StatusCode, r.Request.URL.Host
	answered := fmt.Errorf("%s answered %d", host, status)
	page := h.endpoint.JoinPath(f.Repo)
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status >= 500:
		wait := askedWait(r.Header)
		if wait > h.limits.patience {
			return fault.New("hub_busy", f.Path, "%s asks to wait for %s; what has arrived is kept. Run the same command again then; with HF_TOKEN set, the hub allows more",
				host, wait.Round(time.Second)).Again()
		}
		h.stayAway(host, wait)
		return &again{answered}
	case signed && status >= 400 && status < 500 && status != http.StatusRequestedRangeNotSatisfiable:
		return &again{answered} // its time has passed; the endpoint gives a new one
	case status == http.StatusUnauthorized && h.token != "":
		return fault.New("download_denied", f.Path, "the hub does not accept HF_TOKEN for %s; set it to a valid token, or unset it (the published files need none)", f.Repo).Because(answered)
	case status == http.StatusUnauthorized:
		return fault.New("download_denied", f.Path, "the hub wants to know who reads %s; set HF_TOKEN to your access token, and accept the licence at %s", f.Repo, page).Because(answered)
	case status == http.StatusForbidden:
		return fault.New("download_denied", f.Path, "the hub does not allow to read %s; accept the licence at %s and set HF_TOKEN to a token of that account", f.Repo, page).Because(answered)
	case status == http.StatusNotFound || status == http.StatusGone:
		return fault.New("revision_moved", f.Path, "the hub has no %s at the pinned commit %s of %s; it was moved or removed. Check HF_ENDPOINT, or use a newer humo-worker",
			f.Source, f.Revision, f.Repo).Because(answered)
	}
	return fault.New("hub_answer", f.Path, "%s gives an answer that no hub gives; check HF_ENDPOINT, or a proxy", host).Because(answered)
}
