// Package fetch gets files from URLs that strangers send. It connects to public addresses only, whatever names,
// redirects or notations lead there; it bounds bytes and time; and nothing that it says holds the query of a URL,
// because that is where presigned URLs have their signature.
//
// It knows no job and does not care what the bytes are.
package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// The codes of this package's faults.
const (
	CodeBadURL           = "source_bad_url"           // a scheme, user name, host or notation that is not fetched
	CodeForbiddenAddress = "source_forbidden_address" // a private, local or reserved address, or a port
	CodeRedirects        = "source_redirects"         // too many, or from https to http
	CodeUnreachable      = "source_unreachable"       // no such name, no connection, no valid certificate, cut off
	CodeTimeout          = "source_timeout"           // a step or the whole took too long
	CodeHTTPStatus       = "source_http_status"       // the server answered with something else than 200
	CodeEncoded          = "source_encoded"           // compressed in transfer
	CodeTooLarge         = "source_too_large"
)

// MaxRedirects is how many redirects are followed.
const MaxRedirects = 5

// Client fetches. Its methods may be called at the same time.
type Client struct {
	config  Config
	trusted []netip.Prefix
	dialer  net.Dialer
	files   *http.Client // for Fetch
	calls   *http.Client // for HTTP
}

// NewClient returns a client for a valid Config.
func NewClient(config Config) *Client {
	c := &Client{config: config.orDefault(), trusted: prefixes(config.Trusted...)}
	c.dialer.Control = c.control
	c.files = c.client(func(t *http.Transport) { t.DisableKeepAlives = true })
	// An upload's answer comes when the server has put its parts together, which takes long after the last byte.
	c.calls = c.client(func(t *http.Transport) { t.ResponseHeaderTimeout = c.config.PerURL })
	return c
}

// HTTP returns a client for other requests to addresses that strangers name, such as uploads: the same checks of
// addresses, URLs and redirects, no bound on bytes and total time.
func (c *Client) HTTP() *http.Client { return c.calls }

// PerJob is the longest time that the downloads of one job may take, and the most bytes that they may bring.
func (c *Client) PerJob() (time.Duration, int64) { return c.config.PerJob, c.config.PerJobBytes }

func (c *Client) client(adapt func(*http.Transport)) *http.Client {
	t := &http.Transport{
		Proxy:                  nil, // a proxy would do the connecting, and whom it connects to cannot be checked
		DialContext:            c.dial,
		TLSClientConfig:        &tls.Config{RootCAs: c.config.Roots},
		TLSHandshakeTimeout:    c.config.Patience,
		ResponseHeaderTimeout:  c.config.Patience,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // what is counted is what is kept
	}
	adapt(t)
	return &http.Client{Transport: guarded{t}, CheckRedirect: followable}
}

// guarded checks the URL of every request, those after redirects included.
type guarded struct{ *http.Transport }

func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := check(r.URL); err != nil {
		if r.Body != nil {
			r.Body.Close() //nolint:errcheck // it is not sent
		}
		return nil, err
	}
	return g.Transport.RoundTrip(r)
}

func followable(next *http.Request, before []*http.Request) error {
	next.Header.Del("Referer") // the address before, signature and all
	if len(before) > MaxRedirects {
		return fault.New(CodeRedirects, "", "is redirected more than %d times (%s); send the address that it ends at", MaxRedirects, show(before[0].URL))
	}
	if before[len(before)-1].URL.Scheme == "https" && next.URL.Scheme == "http" {
		return fault.New(CodeRedirects, "", "is redirected from https to http (%s); send an https address that stays one", show(before[0].URL))
	}
	return nil
}

// dial looks a name up once, checks all of its addresses and connects to one of these: a name server that answers the
// next look-up differently gains nothing, and neither does one that hides a private address among public ones.
func (c *Client) dial(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, stop := context.WithTimeout(ctx, c.config.Patience)
	defer stop()
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fault.New(CodeBadURL, "", "is a URL whose port is no number from 1 to 65535; correct it")
	}
	addrs, err := c.config.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := c.permit(netip.AddrPortFrom(a, uint16(port))); err != nil {
			return nil, err
		}
	}
	return c.connect(ctx, addrs, uint16(port))
}

// connect tries a few of the addresses one after the other, in the resolver's order, and shares the time among them.
func (c *Client) connect(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	addrs = addrs[:min(len(addrs), 4)]
	var problems []error
	deadline, _ := ctx.Deadline()
	for i, a := range addrs {
		one, stop := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(addrs)-i))
		conn, err := c.dialer.DialContext(one, "tcp", netip.AddrPortFrom(a.Unmap(), port).String())
		stop()
		if err == nil {
			return conn, nil
		}
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		return nil, &net.DNSError{Err: "no address", IsNotFound: true}
	}
	return nil, errors.Join(problems...)
}

// control sees the address that the kernel is about to connect to: the last word, whatever came before.
func (c *Client) control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return c.permit(a)
}
