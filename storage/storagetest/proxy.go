package storagetest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Proxy is the bad network in front of a server. It passes everything on as it is, signatures included, but for what
// its fault does.
type Proxy struct {
	URL string

	mu       sync.Mutex
	fault    Fault
	requests []string
}

// Fault does something to a request; true: it has answered it.
type Fault func(w http.ResponseWriter, r *http.Request) bool

// StartProxy starts a proxy in front of the server at the address target.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host // it is signed
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // breaks the connection
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, r.Method+" "+r.URL.RequestURI())
		fault := p.fault
		p.mu.Unlock()
		if fault == nil || !fault(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Inject sets what happens to the requests from now on; nil: nothing.
func (p *Proxy) Inject(fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.requests = fault, nil
}

// Requests are those since the last Inject, as METHOD PATH?QUERY.
func (p *Proxy) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

// SlowDown answers the first requests with S3's words for "later".
func SlowDown(times int) Fault {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if times--; times < 0 {
			return false
		}
		io.Copy(io.Discard, r.Body) //nolint:errcheck // it is not wanted
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>") //nolint:errcheck // the client may be gone
		return true
	}
}

// Cut breaks the connections in the middle of every PUT's body: the server gets the first part of it.
func Cut(bytes int64) Fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			r.Body = &cutBody{ReadCloser: r.Body, left: bytes}
		}
		return false
	}
}

// Watch calls reached in the middle of every PUT's body.
func Watch(bytes int64, reached func()) Fault {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			r.Body = &cutBody{ReadCloser: r.Body, left: bytes, reached: reached}
		}
		return false
	}
}

type cutBody struct {
	io.ReadCloser
	left    int64
	reached func() // nil: the body ends
}

var errCut = errors.New("cut")

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left <= 0 {
		if c.reached == nil {
			return 0, errCut
		}
		c.reached()
	}
	if c.reached == nil {
		p = p[:min(int64(len(p)), c.left)]
	}
	n, err := c.ReadCloser.Read(p)
	c.left -= int64(n)
	return n, err
}
