package fetch

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// maxURL is generous: a presigned URL has some 1500 bytes.
const maxURL = 8192

// parse reads a URL. Its errors hold nothing of it, because what cannot be parsed cannot be shown in part.
func parse(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fault.New(CodeBadURL, "", "has %d characters, more than a URL may have (%d); shorten it", len(raw), maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fault.New(CodeBadURL, "", "is not a valid URL; write https://HOST/PATH and escape other characters with %%")
	}
	return u, check(u)
}

// check refuses a URL for what it says, before anything is looked up.
func check(u *url.URL) error {
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return fault.New(CodeBadURL, "", "leads to a %.20q address; only https and http are fetched", u.Scheme)
	case u.User != nil:
		return fault.New(CodeBadURL, "", "is a URL with a user name or password (%s); remove them and use a presigned URL", show(u))
	case host == "":
		return fault.New(CodeBadURL, "", "is a URL without a host; write https://HOST/PATH")
	case strings.HasPrefix(u.Host, "["):
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() || a.Zone() != "" {
			return fault.New(CodeBadURL, "", "is a URL whose host is no plain IPv6 address; write it without a zone, or use a name")
		}
	case endsInNumber(host):
		// Depending on who reads it, 2130706433, 0177.1 or 127.0.0.1. is an address too. Nobody needs to write one so.
		if a, err := netip.ParseAddr(host); err != nil || !a.Is4() {
			return fault.New(CodeBadURL, "", "is a URL whose host is a number; write a name, or an IPv4 address as four decimal numbers")
		}
	case !isName(host):
		return fault.New(CodeBadURL, "", "is a URL whose host is no valid name; use letters, digits, hyphens and dots (international names in their xn-- form)")
	}
	return nil
}

// endsInNumber is the rule by which the URL standard tells addresses from names: the last label is a number.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// isName reports whether a host is a DNS name in ASCII. Full-width digits and dots, which some resolvers fold into an
// address, are none.
func isName(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return false
			}
		}
	}
	return true
}

// show is the part of a URL that messages may hold: never the query, where presigned URLs have their signature.
func show(u *url.URL) string {
	const limit = 60
	host := u.Hostname()
	if len(host) > limit {
		host = "…" + host[len(host)-limit:] // the end says whose it is
	}
	if port := u.Port(); port != "" {
		host = net.JoinHostPort(host, port)
	}
	base := path.Base("/" + u.EscapedPath())
	switch {
	case base == "/":
		base = ""
	case len(base) > limit:
		base = base[:limit] + "…"
	}
	if strings.Count(u.EscapedPath(), "/") > 1 {
		base = "…/" + base
	}
	return u.Scheme + "://" + host + "/" + base
}
