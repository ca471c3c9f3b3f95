package fetch

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Config are the settings for fetching. The zero value is the default.
type Config struct {
	// PerURL is the longest time that one download may take; 0: one minute.
	PerURL time.Duration `env:"HUMO_FETCH_TIMEOUT" envDefault:"60s"`

	// PerJob is the longest time that all downloads of a job may take; 0: two minutes.
	PerJob time.Duration `env:"HUMO_FETCH_JOB_TIMEOUT" envDefault:"120s"`

	// Patience is how long a server may take for each step: to be found and connected to, to agree on TLS, to start
	// its answer, and for every 16 KB of that; 0: ten seconds.
	Patience time.Duration `env:"HUMO_FETCH_PATIENCE" envDefault:"10s"`

	// PerJobBytes is the most that all downloads of a job may bring; 0: 200 MB. The name is RunPod's.
	PerJobBytes int64 `env:"RUNPOD_MAX_DOWNLOAD_BYTES" envDefault:"200000000"`

	// Ports are those that may be connected to; none: 80 and 443.
	Ports []int `env:"HUMO_FETCH_PORTS" envDefault:"80,443"`

	// Trusted are address ranges that may be connected to although they are private, on every port: "10.1.0.0/16" for
	// a storage server in one's own network.
	Trusted []string `env:"HUMO_FETCH_TRUSTED"`

	// AllowPrivate switches all checks of addresses and ports off. The name is RunPod's. It is for tests at home: with
	// it, whoever may send a job may read what this machine can reach.
	AllowPrivate Switch `env:"RUNPOD_ALLOW_PRIVATE_DOWNLOAD_URLS"`

	// Resolver looks up names; nil: the system's. No variable sets it.
	Resolver Resolver `env:"-"`

	// Roots are the certificate authorities to believe; nil: the system's. No variable sets them.
	Roots *x509.CertPool `env:"-"`
}

// Resolver looks up the addresses of a name. net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Switch is a setting that is on or off, in RunPod's words: 1, true and yes are on, anything else is off.
type Switch bool

// UnmarshalText never fails.
func (s *Switch) UnmarshalText(text []byte) error {
	switch strings.ToLower(strings.TrimSpace(string(text))) {
	case "1", "true", "yes":
		*s = true
	default:
		*s = false
	}
	return nil
}

// Validate reports the settings that cannot work, by their names.
func (c Config) Validate() error {
	var problems []error
	complain := func(variable, format string, args ...any) {
		problems = append(problems, fault.New("invalid_setting", variable, format, args...))
	}
	for variable, d := range map[string]time.Duration{
		"HUMO_FETCH_TIMEOUT": c.PerURL, "HUMO_FETCH_JOB_TIMEOUT": c.PerJob, "HUMO_FETCH_PATIENCE": c.Patience,
	} {
		if d < 0 || d > 0 && d < time.Millisecond || d > 24*time.Hour {
			complain(variable, "is %s; set it to a time from 1ms to 24h, such as 60s", d)
		}
	}
	if c.PerJobBytes < 0 {
		complain("RUNPOD_MAX_DOWNLOAD_BYTES", "is %d; set it to a number of bytes, such as 200000000", c.PerJobBytes)
	}
	for _, port := range c.Ports {
		if port < 1 || port > 65535 {
			complain("HUMO_FETCH_PORTS", "holds %d; a port is a number from 1 to 65535", port)
		}
	}
	for _, text := range c.Trusted {
		if _, err := netip.ParsePrefix(text); err != nil {
			complain("HUMO_FETCH_TRUSTED", "holds %.50q; write ranges such as 10.1.0.0/16, with commas between them", text)
		}
	}
	return errors.Join(problems...)
}

func (c Config) orDefault() Config {
	c.PerURL = cmp.Or(c.PerURL, time.Minute)
	c.PerJob = cmp.Or(c.PerJob, 2*time.Minute)
	c.Patience = cmp.Or(c.Patience, 10*time.Second)
	c.PerJobBytes = cmp.Or(c.PerJobBytes, 200_000_000)
	if len(c.Ports) == 0 {
		c.Ports = []int{80, 443}
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	return c
}

// permit refuses an address or a port that may not be connected to.
func (c *Client) permit(a netip.AddrPort) error {
	switch {
	case bool(c.config.AllowPrivate) || contains(c.trusted, a.Addr().Unmap()):
		return nil
	case !public(a.Addr()):
		return forbidden
	case !slices.Contains(c.config.Ports, int(a.Port())):
		return fault.New(CodeForbiddenAddress, "", "is a URL with port %d, which is not one that is fetched from (see HUMO_FETCH_PORTS); use a usual one", a.Port())
	}
	return nil
}

// forbidden names no address: what a name stands for inside the worker's network is nobody's business.
var forbidden = fault.New(CodeForbiddenAddress, "", "leads to an address that is private, local or reserved, and those are never fetched; send a URL that the whole internet can reach")
