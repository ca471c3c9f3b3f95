package fetch

import "net/netip"

// public reports whether an address belongs to a host on the public internet. Everything else is refused: the ranges of
// IANA's special-purpose registries (RFC 6890 and after), and every way to write such an IPv4 address as an IPv6 one.
//
// One form cannot be told from an ordinary address: an IPv4 address behind a NAT64 prefix that a network chose from its
// own addresses.
func public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap() // ::ffff:a.b.c.d reaches a.b.c.d
	switch {
	case a.Is4():
		return !contains(special4, a)
	case nat64.Contains(a): // what DNS64 answers for every IPv4-only host in a network without IPv4
		return public(embedded4(a))
	case !global6.Contains(a) || contains(special6, a):
		return false
	}
	return !isISATAP(a) || public(embedded4(a))
}

var special4 = prefixes(
	"0.0.0.0/8",          // this network
	"10.0.0.0/8",         // private
	"100.64.0.0/10",      // carrier-grade NAT; some clouds' metadata
	"127.0.0.0/8",        // loopback
	"168.63.129.16/32",   // Azure's host, on an address that looks public
	"169.254.0.0/16",     // link-local; most clouds' metadata
	"172.16.0.0/12",      // private
	"192.0.0.0/24",       // protocol assignments
	"192.0.2.0/24",       // documentation
	"192.88.99.0/24",     // 6to4 relays, withdrawn
	"192.168.0.0/16",     // private
	"198.18.0.0/15",      // benchmarks
	"198.51.100.0/24",    // documentation
	"203.0.113.0/24",     // documentation
	"224.0.0.0/4",        // multicast
	"240.0.0.0/4",        // reserved
	"255.255.255.255/32", // broadcast
)

// global6 is the only part of IPv6 that is given out to hosts. Outside of it lie loopback, link-local, site-local
// (fec0::/10), unique local, multicast, IPv4-compatible (::a.b.c.d), local-use NAT64 (64:ff9b:1::/48) and discard.
var global6 = netip.MustParsePrefix("2000::/3")

var special6 = prefixes(
	"2001::/23",     // protocol assignments: Teredo, benchmarks, ORCHID
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4, withdrawn; holds an IPv4 address
	"3fff::/20",     // documentation
)

var nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052

// isISATAP recognises RFC 5214's interface identifiers, 0000:5efe and 0200:5efe before an IPv4 address.
func isISATAP(a netip.Addr) bool {
	b := a.As16()
	return b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// embedded4 is the IPv4 address in the last 32 bits.
func embedded4(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

func contains(ranges []netip.Prefix, a netip.Addr) bool {
	for _, r := range ranges {
		if r.Contains(a) {
			return true
		}
	}
	return false
}
