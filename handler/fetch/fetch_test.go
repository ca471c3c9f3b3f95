package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func TestFetch(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:"+w.Plain)
	}
	c := NewClient(w.config())
	for _, u := range []string{
		"https://good.example:" + w.Secure + "/file?X-Amz-Signature=" + secret + "#fragment",
		"HTTPS://good.example:" + w.Secure + "/a/../file",
		"http://good.example:" + w.Plain + "/file",
		"http://GOOD.eXample:" + w.Plain + "/file",
		"http://good.example.:" + w.Plain + "/file",
		"http://127.0.0.2:" + w.Plain + "/file",
		"http://[::ffff:127.0.0.2]:" + w.Plain + "/file",
	} {
		var out bytes.Buffer
		if err := c.Fetch(t.Context(), u, &out, 1000); err != nil || out.String() != "the bytes" {
			t.Errorf("%s: %q, error %v", u, out.String(), err)
		}
	}
	if n := w.Trapped(); n > 0 {
		t.Errorf("the proxy of the environment was asked %d times", n)
	}
}

// TestFetchTellsNothing: no cookie, no referer (it would hold a signature), no credentials go anywhere, redirects
// included; five of them are followed.
func TestFetchTellsNothing(t *testing.T) {
	w := newWorld(t)
	var seen []http.Header
	for i := range 6 {
		w.Mux.HandleFunc("/hop/"+string(rune('0'+i)), func(out http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Header)
			http.SetCookie(out, &http.Cookie{Name: "id", Value: secret, Path: "/"})
			if next := i + 1; next < 6 {
				http.Redirect(out, r, "http://good.example:"+w.Plain+"/hop/"+string(rune('0'+next))+"?s="+secret, http.StatusTemporaryRedirect)
			}
		})
	}
	if err := NewClient(w.config()).Fetch(t.Context(), "http://good.example:"+w.Plain+"/hop/0?s="+secret, io.Discard, 1000); err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Accept-Encoding": {"identity"}, "User-Agent": {"humo-worker"}, "Connection": {"close"}}
	for _, header := range seen {
		if diff := cmp.Diff(want, header); diff != "" {
			t.Errorf("the server was told (-want +got):\n%s", diff)
		}
	}
	if len(seen) != 6 {
		t.Errorf("%d requests, want 6", len(seen))
	}
}

// TestRebinding: a name is looked up once a connection, and what is connected to is what was checked.
func TestRebinding(t *testing.T) {
	w := newWorld(t)
	c := NewClient(w.config())
	if err := c.Fetch(t.Context(), "https://rebind.example:"+w.Secure+"/file", io.Discard, 1000); err != nil {
		t.Fatal(err)
	}
	if n := w.Lookups("rebind.example"); n != 1 {
		t.Errorf("%d look-ups for one connection, want 1", n)
	}
	w.refused(t, c, "https://rebind.example:"+w.Secure+"/file", CodeForbiddenAddress) // the second answer

	// The last gate by itself: it does not matter how an address came to the dialer.
	for _, address := range []string{"127.0.0.1:" + w.Plain, "[::1]:" + w.Plain, "0.0.0.0:" + w.Plain} {
		conn, err := c.dialer.DialContext(t.Context(), "tcp", address)
		if err == nil {
			conn.Close() //nolint:errcheck // wrong anyway
		}
		if fault.CodeOf(err) != CodeForbiddenAddress {
			t.Errorf("the dialer to %s: error %v, want %s", address, err, CodeForbiddenAddress)
		}
	}
	if n := w.Trapped(); n > 0 {
		t.Errorf("a private address was connected to %d times", n)
	}
}

// TestHTTP: the client for other rooms has the same checks.
func TestHTTP(t *testing.T) {
	w := newWorld(t)
	var stored string
	w.Mux.HandleFunc("PUT /put", func(_ http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		stored = string(data)
		if encoding := r.Header.Get("Accept-Encoding"); encoding != "" {
			t.Errorf("the answer may be compressed with %q, which a limit on its bytes would not see", encoding)
		}
	})
	w.Mux.HandleFunc("PUT /to", func(out http.ResponseWriter, r *http.Request) {
		http.Redirect(out, r, r.URL.Query().Get("u"), http.StatusTemporaryRedirect)
	})
	client := NewClient(w.config()).HTTP()
	defer client.CloseIdleConnections()
	put := func(u string) error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u, strings.NewReader("a video"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close() //nolint:errcheck // only read from
		}
		return err
	}
	if err := put("https://good.example:" + w.Secure + "/put"); err != nil || stored != "a video" {
		t.Errorf("stored %q, error %v", stored, err)
	}
	to := "http://good.example:" + w.Plain + "/to?u="
	for u, code := range map[string]string{
		"http://127.0.0.1:" + w.Plain + "/put":                   CodeForbiddenAddress,
		"http://private.example:" + w.Plain + "/put":             CodeForbiddenAddress,
		"http://u:p@good.example/put":                            CodeBadURL,
		"file:///tmp/x":                                          CodeBadURL,
		"http://0x7f.1:" + w.Plain + "/put":                      CodeBadURL,
		to + url.QueryEscape("http://127.0.0.1:"+w.Plain+"/put"): CodeForbiddenAddress,
		to + url.QueryEscape("file:///tmp/x"):                    CodeBadURL,
	} {
		if err := put(u); fault.CodeOf(err) != code {
			t.Errorf("%s: error %v, want %s", u, err, code)
		}
	}
	if n := w.Trapped(); n > 0 {
		t.Errorf("a private address was connected to %d times", n)
	}
}

func TestFetchCancelled(t *testing.T) {
	w := newWorld(t)
	arrived := make(chan struct{}, 1)
	w.Mux.HandleFunc("/wait", func(out http.ResponseWriter, r *http.Request) {
		out.(http.Flusher).Flush()
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	reason := errors.New("the caller's reason")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-arrived; cancel(reason) }()
	start := time.Now()
	err := NewClient(w.config()).Fetch(ctx, "http://good.example:"+w.Plain+"/wait", io.Discard, 1000)
	if !errors.Is(err, reason) || time.Since(start) > 2*time.Second {
		t.Errorf("error %v after %s, want the cancellation's cause at once", err, time.Since(start))
	}
	if err := NewClient(w.config()).Fetch(ctx, "http://good.example:"+w.Plain+"/file", io.Discard, 1000); !errors.Is(err, reason) {
		t.Errorf("cancelled before: error %v, want the cause", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestFetchWriterError(t *testing.T) {
	w := newWorld(t)
	full := errors.New("the disk is full")
	if err := NewClient(w.config()).Fetch(t.Context(), "http://good.example:"+w.Plain+"/file", failing{full}, 1000); !errors.Is(err, full) {
		t.Errorf("error %v, want the writer's", err)
	}
}

// TestSecondAddress: one dead address of two is no failure.
func TestSecondAddress(t *testing.T) {
	w := newWorld(t)
	config := w.config()
	config.Trusted = append(config.Trusted, "127.0.0.3/32")
	w.Names["two.example"] = []string{"127.0.0.3", "127.0.0.2"}
	if err := NewClient(config).Fetch(t.Context(), "http://two.example:"+w.Plain+"/file", io.Discard, 1000); err != nil {
		t.Error(err)
	}
}

func TestAllowPrivate(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: w.Mux}
	go server.Serve(l)   //nolint:errcheck // ends with Close
	defer server.Close() //nolint:errcheck // a test's server
	c := NewClient(Config{AllowPrivate: true})
	if err := c.Fetch(t.Context(), "http://"+l.Addr().String()+"/file", io.Discard, 1000); err != nil {
		t.Error(err)
	}
	w.refused(t, c, "file:///etc/passwd?"+secret, CodeBadURL) // schemes and sizes stay
}

func TestConfig(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	for want, config := range map[string]Config{
		"HUMO_FETCH_TIMEOUT":        {PerURL: -1},
		"HUMO_FETCH_JOB_TIMEOUT":    {PerJob: 60}, // 60 ns: the unit was forgotten
		"HUMO_FETCH_PATIENCE":       {Patience: 48 * time.Hour},
		"RUNPOD_MAX_DOWNLOAD_BYTES": {PerJobBytes: -1},
		"HUMO_FETCH_PORTS":          {Ports: []int{443, 70000}},
		"HUMO_FETCH_TRUSTED":        {Trusted: []string{"10.0.0.0/8", "10.0.0.1"}},
	} {
		var problem *fault.Error
		if err := config.Validate(); !errors.As(err, &problem) || problem.Field != want {
			t.Errorf("%+v: error %v, want one of %s", config, err, want)
		}
	}
	for text, want := range map[string]Switch{"1": true, "true": true, "YES": true, "0": false, "no": false, "on": false, "": false} {
		got := !want
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %t (error %v), want %t", text, got, err, want)
		}
	}
	c := NewClient(Config{Ports: []int{9000}})
	if err := c.permit(netip.MustParseAddrPort("8.8.8.8:9000")); err != nil {
		t.Errorf("a port of the setting: %v", err)
	}
	if err := c.permit(netip.MustParseAddrPort("8.8.8.8:443")); err == nil {
		t.Error("a port that the setting lacks is permitted")
	}
}

func TestShow(t *testing.T) {
	for raw, want := range map[string]string{
		"https://h.example":                                  "https://h.example/",
		"https://h.example/a.wav?sig=" + secret + "#x":       "https://h.example/a.wav",
		"https://h.example:8443/" + secret + "/b/a%0A.wav?q": "https://h.example:8443/…/a%0A.wav",
		"http://u:" + secret + "@[2001:db8::1]:80/":          "http://[2001:db8::1]:80/",
		"https://h.example/" + strings.Repeat("a", 300):      "https://h.example/" + strings.Repeat("a", 60) + "…",
		"https://" + strings.Repeat("a", 63) + ".h.example/": "https://…" + strings.Repeat("a", 50) + ".h.example/",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(u); got != want {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
}

// FuzzParse: what is accepted has an http scheme, no user and a host that is an address or a name, and can be shown.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"https://h.example/a?b#c", "http://[::1]:80/", "http://1.2.3.4/", "http://a@b/", "http:////x", "http://0x7f.1/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parse(raw)
		if err != nil {
			return
		}
		if u.User != nil || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsAny(u.Host, "@/\\ %") {
			t.Errorf("accepted %q", raw)
		}
		if shown := show(u); strings.ContainsAny(shown, "?#@\r\n\x00") && !strings.Contains(u.EscapedPath(), "@") || len(shown) > 300 {
			t.Errorf("%q is shown as %q", raw, shown)
		}
	})
}
