package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/handler/fetch/fetchtest"
	"github.com/humo-worker/humo-worker/inference/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret stands for a signature. It is in every URL and in all that servers say, and must be in no error.
const secret = "CANARY7f3a"

type world struct{ *fetchtest.World }

func newWorld(t *testing.T) world {
	t.Helper()
	return world{fetchtest.New(t)}
}

// config trusts the address that plays the public internet, and nothing else.
func (w world) config() Config {
	return Config{Trusted: []string{fetchtest.Public}, Resolver: w, Roots: w.Roots, Patience: 3 * time.Second}
}

// refused fetches a URL and checks that it is refused as it should.
func (w world) refused(t *testing.T, c *Client, rawURL, code string) {
	t.Helper()
	_ = w.problem(t, c, rawURL, code)
}

// problem fetches a URL and checks the error: its code, that a secret is nowhere in it or its causes, that no private
// address was connected to.
func (w world) problem(t *testing.T, c *Client, rawURL, code string) *fault.Error {
	t.Helper()
	err := c.Fetch(t.Context(), rawURL, io.Discard, 1000)
	if err == nil {
		t.Errorf("%.100s: fetched, want %s", rawURL, code)
		return &fault.Error{}
	}
	problem, ok := errors.AsType[*fault.Error](err)
	if !ok || problem.Code != code {
		t.Errorf("%.100s: error %v, want %s", rawURL, err, code)
		return &fault.Error{}
	}
	if strings.Contains(err.Error(), secret) || strings.Contains(fmt.Sprintf("%+v %#v", err, problem.Err), secret) {
		t.Errorf("%.100s: the error holds the secret: %v", rawURL, err)
	}
	if len(problem.Message) > 400 {
		t.Errorf("%.100s: a message of %d bytes", rawURL, len(problem.Message))
	}
	if n := w.Trapped(); n > 0 {
		t.Errorf("%.100s: a private address was connected to %d times", rawURL, n)
	}
	return problem
}

// TestHostileURLs: what a URL alone gives away is refused without a connection to anybody.
func TestHostileURLs(t *testing.T) {
	w := newWorld(t)
	c := NewClient(w.config())
	for _, row := range []struct {
		code string
		urls []string // PORT is a port on which private addresses answer
	}{
		{CodeForbiddenAddress, []string{
			// addresses as they are
			"http://127.0.0.1:PORT/", "https://127.0.0.1:PORT/a.wav", "http://127.0.0.1/", "http://127.255.255.254:PORT/", "http://0.0.0.0:PORT/",
			"http://10.0.0.1/", "http://172.16.5.4/", "http://192.168.1.1/", "http://100.64.0.1/", "http://100.100.100.200/latest/meta-data/",
			"http://169.254.169.254/latest/meta-data/", "http://168.63.129.16/", "http://192.0.0.192/opc/v2/", "http://198.18.0.1/", "http://203.0.113.9/",
			"http://224.0.0.1/", "http://240.0.0.1/", "http://255.255.255.255/",
			// IPv6, with and without an IPv4 address in it
			"http://[::1]:PORT/", "http://[0:0:0:0:0:0:0:1]:PORT/", "http://[::]:PORT/", "http://[fe80::1]/", "http://[fec0::1]/", "http://[fd00:ec2::254]/",
			"http://[ff02::1]/", "http://[2001:db8::1]/", "http://[::ffff:127.0.0.1]:PORT/", "http://[::ffff:7f00:1]:PORT/", "http://[::127.0.0.1]:PORT/",
			"http://[::FFFF:A9FE:A9FE]/", "http://[64:ff9b::7f00:1]:PORT/", "http://[64:ff9b::a9fe:a9fe]/", "http://[64:ff9b:1::7f00:1]/", "http://[2002:7f00:1::]/",
			"http://[2001::80ff:fffe]/", "http://[2a00::5efe:7f00:1]/",
			// names of them
			"http://localhost:PORT/", "http://LOCALHOST:PORT/", "http://localhost.:PORT/", "http://app.localhost:PORT/", "http://localhost.localdomain:PORT/",
			"http://private.example:PORT/", "http://lan.example/", "http://cgnat.example/", "http://six.example:PORT/", "http://mapped.example:PORT/",
			"http://nat64.example:PORT/", "http://metadata.google.internal/computeMetadata/v1/", "http://127.0.0.1.nip.example:PORT/",
			"http://mixed.example:PORT/", "http://mixed6.example:PORT/", // one private address among public ones
			// ports of public addresses
			"http://8.8.8.8:22/", "https://8.8.8.8:6379/", "http://[2606:4700:4700::1111]:25/", "http://8.8.8.8:0/",
		}},
		{CodeBadURL, []string{
			// addresses in disguise
			"http://2130706433:PORT/", "http://0x7f000001:PORT/", "http://017700000001:PORT/", "http://0177.0.0.1:PORT/", "http://0x7f.0.0.1:PORT/",
			"http://0x7f.0x0.0x0.0x1:PORT/", "http://127.1:PORT/", "http://127.0.1:PORT/", "http://127.0.0.1.:PORT/", "http://0:PORT/", "http://127.0.0.0x1:PORT/",
			"http://0300.0250.1.1/", "http://1.2.3.4.5/", "http://256.256.256.256/", "http://127.0.0.01:PORT/", "http://0X7F000001:PORT/", "http://0x:PORT/",
			"http://１２７.０.０.１:PORT/", "http://127。0。0。1:PORT/", "http://①②⑦.⓪.⓪.①:PORT/", "http://ⓛocalhost:PORT/", "http://localhost\u00ad:PORT/",
			"http://%31%32%37.0.0.1:PORT/", "http://127%2e0%2e0%2e1:PORT/", "http://127.0.0.1%00.good.example:PORT/", "http://%EF%BC%91.0.0.1:PORT/",
			"http://[fe80::1%25lo]:PORT/", "http://[::1%25lo]:PORT/", "http://[127.0.0.1]:PORT/", "http://[::1:PORT/", "http://::1:PORT/", "http://[v1.a]/",
			// user names
			"http://user@good.example/", "http://user:" + secret + "@good.example/", "http://:" + secret + "@good.example/", "http://@good.example/",
			"https://good.example@127.0.0.1:PORT/", "https://good.example:443@127.0.0.1:PORT/", `http://good.example\@127.0.0.1:PORT/`, "http://good.example%40127.0.0.1:PORT/",
			// schemes, and what is no URL
			"file:///etc/passwd", "FILE://localhost/etc/passwd", "ftp://good.example/a", "gopher://127.0.0.1:PORT/_x", "dict://127.0.0.1:PORT/", "data:,x", "jar:http://good.example!/",
			"unix:///var/run/docker.sock", "//127.0.0.1:PORT/", "/etc/passwd", "", "http:", "http://", "https:///path", "http:good.example", "http:/127.0.0.1:PORT/", "http://:PORT/",
			"http://good.example:99999/", "http://good.example:-1/", "http://good.example:a/", "http://127.0.0.1:PORT:80/", "http://good example/", "http://good.example/\r\nHost: evil/",
			"http://good..example/", "http://.example/", "http://" + strings.Repeat("a", 64) + ".example/", "http://" + strings.Repeat("a.", 130) + "example/",
			"http://good.example\t/", "http://good,example/", "http://good.example%2f@x/", "https://good.example/" + strings.Repeat("a", 9000), "http://[::ffff:127.0.0.1%25eth0]:PORT/",
		}},
		{CodeUnreachable, []string{"https://absent.example/", "https://none.example/"}},
	} {
		for _, u := range row.urls {
			u = strings.ReplaceAll(u, "PORT", w.Plain)
			if !strings.ContainsAny(u, "?\r") && u != "" {
				u += "?X-Amz-Signature=" + secret
			}
			if problem := w.problem(t, c, u, row.code); problem.Retryable {
				t.Errorf("%s: retryable", u)
			}
		}
	}
	if n := w.Connections(); n > 0 {
		t.Errorf("the public server was connected to %d times", n)
	}
}

// TestHostileRedirects: a redirect leads nowhere that a URL does not.
func TestHostileRedirects(t *testing.T) {
	w := newWorld(t)
	c := NewClient(w.config())
	w.Mux.HandleFunc("/to", func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Location", r.URL.Query().Get("u"))
		out.WriteHeader(http.StatusFound)
	})
	rounds := 0
	w.Mux.HandleFunc("/loop", func(out http.ResponseWriter, r *http.Request) {
		rounds++
		http.Redirect(out, r, "/loop?s="+secret, http.StatusMovedPermanently)
	})
	for target, code := range map[string]string{
		"http://127.0.0.1:PORT/":                CodeForbiddenAddress,
		"https://127.0.0.1:SPORT/":              CodeForbiddenAddress,
		"//localhost:PORT/":                     CodeForbiddenAddress,
		"http://169.254.169.254/latest/":        CodeForbiddenAddress,
		"http://[::ffff:127.0.0.1]:PORT/":       CodeForbiddenAddress,
		"http://private.example:PORT/":          CodeForbiddenAddress,
		"http://8.8.8.8:22/":                    CodeForbiddenAddress,
		"http://2130706433:PORT/":               CodeBadURL,
		"http://a:" + secret + "@127.0.0.1/":    CodeBadURL,
		"http://a:" + secret + "@good.example/": CodeBadURL,
		"file:///etc/passwd":                    CodeBadURL,
		"FILE:///etc/passwd":                    CodeBadURL,
		"gopher://127.0.0.1:PORT/_":             CodeBadURL,
		"data:text/plain,x":                     CodeBadURL,
		"http://[::1/" + secret:                 CodeUnreachable, // Go cannot parse it
		"/loop":                                 CodeRedirects,
	} {
		target = strings.NewReplacer("SPORT", w.Secure, "PORT", w.Plain).Replace(target)
		w.refused(t, c, "http://good.example:"+w.Plain+"/to?s="+secret+"&u="+url.QueryEscape(target), code)
	}
	if rounds != MaxRedirects {
		t.Errorf("a loop was followed %d times, want %d", rounds, MaxRedirects)
	}
	w.refused(t, c, "https://good.example:"+w.Secure+"/to?s="+secret+"&u="+url.QueryEscape("http://good.example:"+w.Plain+"/file"), CodeRedirects)
}

// TestHostileServers: what a public server may try.
func TestHostileServers(t *testing.T) {
	w := newWorld(t)
	serve := func(path string, f func(out http.ResponseWriter, r *http.Request)) { w.Mux.HandleFunc(path, f) }
	raw := func(path, answer string) { // an answer that no server would give
		serve(path, func(out http.ResponseWriter, _ *http.Request) {
			conn, buffered, err := out.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			buffered.WriteString(answer) //nolint:errcheck // a test's server
			buffered.Flush()             //nolint:errcheck // a test's server
			conn.Close()                 //nolint:errcheck // a test's server
		})
	}
	dribble := func(out http.ResponseWriter, r *http.Request, n int, pause time.Duration) {
		for r.Context().Err() == nil {
			out.Write(make([]byte, n)) //nolint:errcheck // a test's server
			out.(http.Flusher).Flush() // now
			time.Sleep(pause)
		}
	}
	serve("/big-header", func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("X", strings.Repeat(secret, 10_000)) })
	serve("/declared", func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Content-Length", "1001") })
	serve("/chunked", func(out http.ResponseWriter, r *http.Request) { dribble(out, r, 400, 0) })
	serve("/gzip", func(out http.ResponseWriter, _ *http.Request) { out.Header().Set("Content-Encoding", "gzip") })
	serve("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	serve("/stalls", func(out http.ResponseWriter, r *http.Request) {
		out.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	serve("/dribbles", func(out http.ResponseWriter, r *http.Request) { dribble(out, r, 1, 10*time.Millisecond) })
	for code := range map[int]bool{204: true, 206: true, 300: true, 304: true, 400: true, 401: true, 403: true, 404: true, 410: true, 418: true, 408: true, 425: true, 429: true, 500: true, 502: true, 503: true, 504: true} {
		serve(fmt.Sprintf("/status/%d", code), func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(code) })
	}
	raw("/short", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf")
	raw("/cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nhalf")
	raw("/nonsense", secret+"\r\n\r\n")
	raw("/half-header", "HTTP/1.1 200 OK\r\nX: "+secret)
	raw("/negative", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"+secret)
	raw("/two-lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"+secret)
	raw("/smuggle", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: "+secret+"\r\n\r\n"+secret)
	raw("/nothing", "")

	config := w.config()
	config.Patience = 300 * time.Millisecond
	config.PerURL = 5 * time.Second
	c := NewClient(config)
	for _, row := range []struct {
		path, code string
		retryable  bool
		says       string
	}{
		{"/big-header", CodeUnreachable, true, ""},
		{"/declared", CodeTooLarge, false, "limit of 0 MB"},
		{"/chunked", CodeTooLarge, false, ""},
		{"/gzip", CodeEncoded, false, `"gzip"`},
		{"/silent", CodeTimeout, true, "too long"},
		{"/stalls", CodeTimeout, true, "too slowly"},
		{"/dribbles", CodeTimeout, true, "too slowly"},
		{"/short", CodeUnreachable, true, "broke off"},
		{"/cut", CodeUnreachable, true, "broke off"},
		{"/nonsense", CodeUnreachable, true, ""},
		{"/half-header", CodeUnreachable, true, ""},
		{"/negative", CodeUnreachable, true, ""},
		{"/two-lengths", CodeUnreachable, true, ""},
		{"/smuggle", CodeUnreachable, true, ""},
		{"/nothing", CodeUnreachable, true, ""},
		{"/status/204", CodeHTTPStatus, false, "204"},
		{"/status/206", CodeHTTPStatus, false, "206"},
		{"/status/300", CodeHTTPStatus, false, "300"},
		{"/status/304", CodeHTTPStatus, false, "304"},
		{"/status/400", CodeHTTPStatus, false, "400 Bad Request"},
		{"/status/401", CodeHTTPStatus, false, "presign it anew"},
		{"/status/403", CodeHTTPStatus, false, "presign it anew"},
		{"/status/404", CodeHTTPStatus, false, "404 Not Found (http://good.example:" + w.Plain + "/…/404); check the URL"},
		{"/status/410", CodeHTTPStatus, false, "410"},
		{"/status/418", CodeHTTPStatus, false, "418"},
		{"/status/408", CodeHTTPStatus, true, "408"},
		{"/status/425", CodeHTTPStatus, true, "425"},
		{"/status/429", CodeHTTPStatus, true, "try again later"},
		{"/status/500", CodeHTTPStatus, true, "500"},
		{"/status/502", CodeHTTPStatus, true, "502"},
		{"/status/503", CodeHTTPStatus, true, "503"},
		{"/status/504", CodeHTTPStatus, true, "504"},
	} {
		problem := w.problem(t, c, "http://good.example:"+w.Plain+row.path+"?X-Amz-Signature="+secret, row.code)
		if problem.Retryable != row.retryable || !strings.Contains(problem.Message, row.says) {
			t.Errorf("%s: retryable %t: %s; want %t and %q", row.path, problem.Retryable, problem.Message, row.retryable, row.says)
		}
	}
	w.refused(t, c, "https://hangs.example/?s="+secret, CodeTimeout)                                                                 // a name server that does not answer
	w.refused(t, c, "https://good.example:"+w.Plain+"/file?s="+secret, CodeUnreachable)                                              // no TLS there
	w.refused(t, c, "https://other.example:"+w.Secure+"/file?s="+secret, CodeUnreachable)                                            // another's certificate
	w.refused(t, NewClient(Config{Trusted: config.Trusted, Resolver: w}), "https://good.example:"+w.Secure+"/file", CodeUnreachable) // nobody's authority
	mute, err := net.Listen("tcp", "127.0.0.2:0")                                                                                    // takes connections and says nothing, so that TLS never comes about
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close() //nolint:errcheck // a test's server
	start := time.Now()
	if problem := w.problem(t, c, "https://"+mute.Addr().String()+"/?s="+secret, CodeTimeout); !problem.Retryable || time.Since(start) > 3*time.Second {
		t.Errorf("a server without a TLS handshake: %+v after %s, want a retryable fault before the download's whole time is over", problem, time.Since(start))
	}
	w.Names["closed.example"] = []string{"127.0.0.3"}
	config.Trusted = append(config.Trusted, "127.0.0.3/32")
	if problem := w.problem(t, NewClient(config), "http://closed.example:"+w.Plain+"/", CodeUnreachable); !problem.Retryable || problem.Err == nil {
		t.Errorf("a closed port: %+v, want a retryable fault with its cause", problem)
	}

	config.PerURL = 400 * time.Millisecond // fast enough at every moment, but without end
	serve("/endless", func(out http.ResponseWriter, r *http.Request) { dribble(out, r, 50_000, 20*time.Millisecond) })
	err = NewClient(config).Fetch(t.Context(), "http://good.example:"+w.Plain+"/endless?"+secret, io.Discard, 1<<40)
	if fault.CodeOf(err) != CodeTimeout || !strings.Contains(err.Error(), "within 400ms") || strings.Contains(err.Error(), secret) {
		t.Errorf("a body without end: error %v, want %s", err, CodeTimeout)
	}

	var out bytes.Buffer // the limit holds to the byte
	if err := c.Fetch(t.Context(), "http://good.example:"+w.Plain+"/file", &out, 8); fault.CodeOf(err) != CodeTooLarge {
		t.Errorf("9 bytes with a limit of 8: error %v, want %s", err, CodeTooLarge)
	}
	if err := c.Fetch(t.Context(), "http://good.example:"+w.Plain+"/file", io.Discard, 9); err != nil {
		t.Errorf("9 bytes with a limit of 9: %v", err)
	}
}
