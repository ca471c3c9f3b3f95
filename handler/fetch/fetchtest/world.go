// Package fetchtest is an internet for tests, on the loopback device.
package fetchtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// World is an internet of one public host. 127.0.0.2 plays the public part, 127.0.0.1 and ::1 the private one: a client
// under test has to be told that the former is public. On each port of the public server the private addresses have a
// trap that counts connections.
type World struct {
	Mux           *http.ServeMux // what the public server answers; it has /file
	Secure, Plain string         // its ports for https, with a certificate for good.example and rebind.example, and for http
	Roots         *x509.CertPool // the authority of that certificate

	// Names are the addresses of names. "|" stands before those of the next look-up.
	Names map[string][]string

	connections, trapped atomic.Int32
	mu                   sync.Mutex
	lookups              map[string]int
}

// Public is the range that plays the public internet.
const Public = "127.0.0.2/32"

// New opens a world that ends with the test.
func New(t *testing.T) *World {
	t.Helper()
	w := &World{Mux: http.NewServeMux(), lookups: map[string]int{}, Names: map[string][]string{
		"good.example": {"127.0.0.2"}, "other.example": {"127.0.0.2"}, "good.example.": {"127.0.0.2"}, "GOOD.eXample": {"127.0.0.2"},
		"private.example": {"127.0.0.1"}, "localhost": {"127.0.0.1", "::1"}, "localhost.": {"127.0.0.1"}, "LOCALHOST": {"127.0.0.1"},
		"app.localhost": {"127.0.0.1"}, "localhost.localdomain": {"127.0.0.1"}, "metadata.google.internal": {"169.254.169.254"},
		"mixed.example": {"127.0.0.2", "127.0.0.1"}, "mixed6.example": {"127.0.0.2", "fd00::1"}, "mapped.example": {"::ffff:127.0.0.1"},
		"six.example": {"::1"}, "lan.example": {"192.168.1.1"}, "cgnat.example": {"100.64.0.1"}, "none.example": {},
		"rebind.example": {"127.0.0.2", "|", "127.0.0.1"}, "nat64.example": {"64:ff9b::7f00:1"}, "127.0.0.1.nip.example": {"127.0.0.1"},
	}}
	certificate := w.authority(t)
	for _, port := range []*string{&w.Plain, &w.Secure} {
		public, number := w.listeners(t)
		*port = number
		server := httptest.NewUnstartedServer(w.Mux)
		server.Listener.Close() //nolint:errcheck // replaced
		server.Listener = counted{public, &w.connections}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		if port == &w.Secure {
			server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
			server.StartTLS()
		} else {
			server.Start()
		}
		t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	}
	w.Mux.HandleFunc("/file", func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, "the bytes") }) //nolint:errcheck // a test's server
	return w
}

// listeners opens a port on the public address and traps on the same port of the private ones.
func (w *World) listeners(t *testing.T) (public net.Listener, port string) {
	t.Helper()
	for range 20 {
		trap, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(trap.Addr().String())
		public, err = net.Listen("tcp", "127.0.0.2:"+port)
		if err != nil { // somebody else's
			trap.Close() //nolint:errcheck // unused
			continue
		}
		w.trap(t, trap)
		if six, err := net.Listen("tcp", "[::1]:"+port); err == nil {
			w.trap(t, six)
		}
		return public, port
	}
	t.Fatal("no port is free on both addresses")
	return nil, ""
}

func (w *World) trap(t *testing.T, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.trapped.Add(1)
			conn.Close() //nolint:errcheck // a trap
		}
	}()
	t.Cleanup(func() { l.Close(); <-done }) //nolint:errcheck // a trap
}

// authority makes a certificate for the public names and the CA that signs it.
func (w *World) authority(t *testing.T) tls.Certificate {
	t.Helper()
	sign := func(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return certificate
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	rootKey, key := newKey(), newKey()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	}
	root := template(1, "test root")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	root = sign(root, root, rootKey, rootKey)
	leaf := template(2, "good.example")
	leaf.DNSNames = []string{"good.example", "rebind.example"}
	leaf = sign(leaf, root, key, rootKey)
	w.Roots = x509.NewCertPool()
	w.Roots.AddCert(root)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
}

// Connections counts those to the public server.
func (w *World) Connections() int { return int(w.connections.Load()) }

// Trapped counts the connections to private addresses since the last call.
func (w *World) Trapped() int { return int(w.trapped.Swap(0)) }

// Lookups counts those of a name.
func (w *World) Lookups(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lookups[name]
}

// LookupNetIP plays the name server. hangs.example is never answered.
func (w *World) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if host == "hangs.example" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	answers, ok := w.Names[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	turn := w.lookups[host]
	w.lookups[host]++
	var addrs []netip.Addr
	for _, a := range answers {
		switch {
		case a == "|" && turn == 0:
			return addrs, nil
		case a == "|":
			turn--
			addrs = nil
		default:
			addrs = append(addrs, netip.MustParseAddr(a))
		}
	}
	return addrs, nil
}

type counted struct {
	net.Listener
	n *atomic.Int32
}

func (c counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}
