package localapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Who may ask: programs of this machine, and pages of this server under its own names.
func TestGuard(t *testing.T) {
	b := newBench(t, echo, func(s *Server) {
		s.Page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("page")) })  //nolint:errcheck // a recorder
		s.Files = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("file")) }) //nolint:errcheck // a recorder
	})
	const job = `{"input": {}}`
	for name, test := range map[string]struct {
		method, path string
		headers      []string
		status       int
	}{
		"a program":                 {"POST", "/run", nil, 200},
		"another port":              {"POST", "/run", []string{"Host", "127.0.0.1:9"}, 200},
		"no port":                   {"POST", "/run", []string{"Host", "LOCALHOST"}, 200},
		"IPv6":                      {"POST", "/run", []string{"Host", "[::1]:8000"}, 200},
		"IPv6 without a port":       {"POST", "/run", []string{"Host", "[::1]"}, 200},
		"a name below localhost":    {"GET", "/", []string{"Host", "humo.localhost"}, 200},
		"rebinding":                 {"GET", "/jobs", []string{"Host", "evil.example:8000"}, 421},
		"rebinding of the page":     {"GET", "/", []string{"Host", "evil.example"}, 421},
		"rebinding of a file":       {"GET", "/files/x", []string{"Host", "127.0.0.1.evil.example"}, 421},
		"a name like localhost":     {"GET", "/", []string{"Host", "notlocalhost"}, 421},
		"an address of the network": {"GET", "/", []string{"Host", "192.168.0.9:8000"}, 421},
		"the page":                  {"POST", "/run", []string{"Origin", "http://localhost:8000", "Sec-Fetch-Site", "same-origin"}, 200},
		"another page":              {"POST", "/run", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		"another page's upload":     {"POST", "/uploads", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"an old browser":            {"POST", "/run", []string{"Origin", "https://evil.example"}, 403},
		"a page on another port":    {"POST", "/cancel/x", []string{"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"}, 403},
		"a sandboxed page":          {"POST", "/run", []string{"Origin", "null"}, 403},
		"a key that is not needed":  {"POST", "/run", []string{"Authorization", "Bearer x"}, 200},
		"a file":                    {"GET", "/files/x", nil, 200},
		"a preflight":               {"OPTIONS", "/run", []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, 405},
	} {
		w := b.ask(test.method, test.path, job, test.headers...)
		if w.Code != test.status {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, test.status)
		}
		h := w.Header()
		if h.Get("Access-Control-Allow-Origin") != "" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: headers %v", name, h)
		}
	}
}

func TestKey(t *testing.T) {
	const key = "a-long-enough-key"
	b := newBench(t, echo, func(s *Server) {
		s.Config.Key = key
		s.Page = http.NotFoundHandler()
		s.Files = http.NotFoundHandler()
	})
	for given, want := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, "Bearer wrong": 401, key + "x": 401, "Basic " + key: 401,
		"Bearer " + key: 200, "bearer  " + key: 200, key: 200,
	} {
		for _, path := range []string{"/health", "/v2/x/health", "/openapi.json", "/jobs", "/info", "/schema.json"} {
			w := b.ask("GET", path, "", "Authorization", given)
			if w.Code != want || want == 401 && (w.Header().Get("WWW-Authenticate") == "" || decode[Problem](t, w).Code != "unauthorized") {
				t.Errorf("%q for %s: %d", given, path, w.Code)
			}
		}
	}
	for path, want := range map[string]int{"/": 404, "/page/x": 404, "/files/x": 404, "/ping": 200, "/healthz": 200, "/pages": 401, "//": 401, "/files": 401, "/nothing": 401} {
		if w := b.ask("GET", path, "", "Host", "behind.a.proxy"); w.Code != want {
			t.Errorf("%s without a key: %d, want %d", path, w.Code, want)
		}
	}
	if strings.Contains(b.log(), key) {
		t.Error("the key is logged")
	}
}

// A panic while a request is answered is a 500, not a broken connection.
func TestPanic(t *testing.T) {
	b := newBench(t, echo, func(s *Server) {
		s.Page = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("as asked") })
	})
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/", nil))
	if w.Code != 500 || !strings.Contains(b.log(), "as asked") {
		t.Errorf("%d, log %s", w.Code, b.log())
	}
}

func TestConfig(t *testing.T) {
	good := Config{Host: "localhost", Port: 8000, Concurrency: 1, Queue: 1}
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"default":        {func(*Config) {}, ""},
		"IPv6":           {func(c *Config) { c.Host = "::1" }, ""},
		"all with a key": {func(c *Config) { c.Host, c.Key = "0.0.0.0", "0123456789abcdef" }, ""},
		"all":            {func(c *Config) { c.Host = "0.0.0.0" }, "set LOCAL_API_KEY"},
		"empty":          {func(c *Config) { c.Host = "" }, "set LOCAL_API_KEY"},
		"IPv6 all":       {func(c *Config) { c.Host = "::" }, "set LOCAL_API_KEY"},
		"a name":         {func(c *Config) { c.Host = "localhost.example" }, "set LOCAL_API_KEY"},
		"short key":      {func(c *Config) { c.Host, c.Key = "10.0.0.1", "short" }, "at least 16 characters"},
		"port":           {func(c *Config) { c.Port = 70000 }, "--rp_api_port"},
		"concurrency":    {func(c *Config) { c.Concurrency = 0 }, "--rp_api_concurrency"},
		"queue":          {func(c *Config) { c.Queue = 0 }, "LOCAL_API_QUEUE"},
		"address":        {func(c *Config) { c.URL = "humo.example" }, "LOCAL_API_URL"},
		"address, query": {func(c *Config) { c.URL = "https://humo.example/?a" }, "LOCAL_API_URL"},
		"a good address": {func(c *Config) { c.URL = "https://humo.example/x" }, ""},
	} {
		c := good
		test.change(&c)
		err := c.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if _, err := Listen(c); test.want != "" && err == nil {
			t.Errorf("%s: listens", name)
		}
	}
}

// localhost is both of its addresses, on one port; a port that is taken is explained.
func TestListen(t *testing.T) {
	c := Config{Host: "localhost", Concurrency: 1, Queue: 1}
	all, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		defer l.Close() //nolint:errcheck // the test is over
	}
	base := c.BaseURL(all[0].Addr())
	if !strings.HasPrefix(base, "http://localhost:") || strings.HasSuffix(base, ":0") {
		t.Errorf("links begin with %s", base)
	}
	port := strings.TrimPrefix(base, "http://localhost:")
	for i, l := range all {
		if !strings.HasSuffix(l.Addr().String(), ":"+port) {
			t.Errorf("listener %d is at %s, want port %s", i, l.Addr(), port)
		}
	}
	c.Host = "127.0.0.1"
	for _, r := range port {
		c.Port = c.Port*10 + int(r-'0')
	}
	if _, err := Listen(c); err == nil || !strings.Contains(err.Error(), "--rp_api_port") || errors.Unwrap(err) == nil {
		t.Errorf("a port that is taken: %v", err)
	}
	c.URL = "https://humo.example"
	if got := c.BaseURL(all[0].Addr()); got != c.URL {
		t.Errorf("links begin with %s", got)
	}
}
