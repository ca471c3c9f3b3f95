package fetch

import (
	"net/netip"
	"testing"
)

func TestPublic(t *testing.T) {
	for _, c := range []struct {
		want  bool
		addrs []string
	}{
		{true, []string{
			"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
			"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
			"198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15",
			"2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "2400::1", "3ffe:ffff::1",
			"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", // mapped, and what DNS64 answers
			"2a00::5efe:8.8.8.8", "2a00::1:5efe:10.0.0.1", "2a00::5eff:10.0.0.1", // ISATAP and what only looks like it
		}},
		{false, []string{
			// IPv4
			"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.100.100.200", "100.127.255.255", "127.0.0.1",
			"127.255.255.255", "168.63.129.16", "169.254.169.254", "172.16.0.0", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
			"192.168.0.0", "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255",
			"240.0.0.1", "255.255.255.255",
			// IPv6
			"::", "::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1",
			"100::1", "100:0:0:1::1", "2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:30::1", "5f00::1", "4000::1",
			"8.8.8.8%x", "2001:4860:4860::8888%eth0",
			// IPv4 in IPv6: mapped, compatible, translated, NAT64 (well-known, local-use), 6to4, Teredo, ISATAP
			"::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:10.0.0.1", "::127.0.0.1", "::10.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1",
			"64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::100.64.0.1", "64:ff9b::1:8.8.8.8", "64:ff9b:1::1", "64:ff9b:1:a00:0:100::",
			"2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1", "2001::f5ff:fffe", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
			"2a00::5efe:127.0.0.1", "2a00::200:5efe:10.0.0.1", "fe80::5efe:8.8.8.8", "2a00::5efe:100.64.0.1",
		}},
	} {
		for _, text := range c.addrs {
			a, err := netip.ParseAddr(text)
			if err != nil && text != "8.8.8.8%x" { // IPv4 has no zones
				t.Fatal(err)
			}
			if got := public(a); got != c.want {
				t.Errorf("public(%s) = %t, want %t", text, got, c.want)
			}
		}
	}
	if public(netip.Addr{}) {
		t.Error("the address that is none is public")
	}
}

// FuzzPublic: the forms that hold an IPv4 address are as public as that, or never.
func FuzzPublic(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add([]byte{8, 8, 8, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 4 {
			return
		}
		v4 := netip.AddrFrom4([4]byte(b))
		want := public(v4)
		if got := public(netip.AddrFrom16(v4.As16())); got != want {
			t.Errorf("%s mapped: %t, want %t", v4, got, want)
		}
		for _, prefix := range []string{"64:ff9b::", "2a00::5efe:0:0", "2a00::200:5efe:0:0"} {
			sixteen := netip.MustParseAddr(prefix).As16()
			copy(sixteen[12:], b)
			if got := public(netip.AddrFrom16(sixteen)); got != want {
				t.Errorf("%s: %t, want %t", netip.AddrFrom16(sixteen), got, want)
			}
		}
		for _, prefix := range []string{"::", "2002::", "2001::", "64:ff9b:1::", "::ffff:0:0:0", "fe80::", "fd00::", "ff0e::"} {
			sixteen := netip.MustParseAddr(prefix).As16()
			copy(sixteen[12:], b)
			if public(netip.AddrFrom16(sixteen)) {
				t.Errorf("%s is public", netip.AddrFrom16(sixteen))
			}
		}
	})
}
