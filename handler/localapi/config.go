package localapi

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/inference/fault"
)

// Config are the settings of the API.
type Config struct {
	// Key is what clients must send as "Authorization: Bearer KEY". Empty: nothing, and then only this machine is
	// listened to.
	Key runpod.Secret `env:"LOCAL_API_KEY"`

	// URL is the address under which clients reach the server, which links to results begin with. Empty: the address
	// that is listened on.
	URL string `env:"LOCAL_API_URL"`

	// Queue is how many jobs may wait.
	Queue int `env:"LOCAL_API_QUEUE" envDefault:"100"`

	// Host and Port are listened on. No variable sets them: they are RunPod's flags.
	Host string
	Port int

	// Concurrency is how many jobs run at the same time.
	Concurrency int
}

// Limits that nobody has needed to set.
const (
	maxRunBody     = 10_000_000 // RunPod's
	maxRunSyncBody = 20_000_000 // RunPod's
	maxUpload      = 100_000_000
	maxUploads     = 1_000_000_000 // all together
	maxUploadFiles = 200
	maxJobs        = 1000      // in any state
	maxWaiting     = 256 << 20 // bytes of input of the jobs that wait
	maxKept        = 256 << 20 // bytes of what finished jobs leave
	maxChunks      = 4 << 20   // bytes of chunks of a job that nobody fetches; the oldest go first
	maxRetryInput  = 1 << 20   // a larger input of a finished job is not kept for /retry
	maxEventStream = 64        // at the same time
	minKey         = 16        // characters
	maxResult      = 5242880   // bytes; RunPod's
	retention      = 30 * time.Minute
	quickRetention = time.Minute
	uploadLife     = time.Hour // after the last use
	stopTime       = 10 * time.Second
)

// Validate reports the settings that cannot work, by their names.
func (c Config) Validate() error {
	var problems []error
	bad := func(name, format string, args ...any) {
		problems = append(problems, fault.New("invalid_setting", name, format, args...))
	}
	if !c.loopback() && len(c.Key) < minKey {
		bad("--rp_api_host", "%q is not this machine alone, and there is no key of at least %d characters: set LOCAL_API_KEY to one that clients send as \"Authorization: Bearer KEY\", or use localhost",
			c.Host, minKey)
	}
	if c.Port < 0 || c.Port > 65535 {
		bad("--rp_api_port", "is %d; a port is a number from 1 to 65535", c.Port)
	}
	if c.Concurrency < 1 || c.Concurrency > 64 {
		bad("--rp_api_concurrency", "is %d; it must be 1 to 64 jobs at the same time", c.Concurrency)
	}
	if c.Queue < 1 || c.Queue >= maxJobs {
		bad("LOCAL_API_QUEUE", "is %d; it must be 1 to %d jobs that wait", c.Queue, maxJobs-1)
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		bad("LOCAL_API_URL", "is no address that links can begin with; use one such as https://humo.example.com")
	}
	return errors.Join(problems...)
}

// loopback reports whether only this machine can reach the host.
func (c Config) loopback() bool {
	ip := net.ParseIP(c.Host)
	return c.Host == "localhost" || ip != nil && ip.IsLoopback()
}

// BaseURL is what links to results begin with, when the server listens at.
func (c Config) BaseURL(at net.Addr) string {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return cmp.Or(c.URL, "http://"+at.String())
	}
	if ip := net.ParseIP(c.Host); c.Host == "localhost" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return cmp.Or(c.URL, "http://"+net.JoinHostPort(host, port))
}

// Listen opens the addresses that the settings name. "localhost" is both of its addresses, because clients do not agree
// on which one it means.
func Listen(c Config) ([]net.Listener, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	hosts := []string{c.Host}
	if c.Host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var all []net.Listener
	port := c.Port
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil && len(all) > 0 {
			continue // a machine without IPv6
		}
		if err != nil {
			return nil, fault.New("port_unusable", "--rp_api_port", "%s cannot be listened on; another program may have the port, or ports below 1024 may need more rights: choose another --rp_api_port", net.JoinHostPort(host, fmt.Sprint(port))).Because(err)
		}
		all = append(all, l)
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			port = a.Port
		}
	}
	return all, nil
}
