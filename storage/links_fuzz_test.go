package storage

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzLinks: the link to any key is good for that key until its time, and no other key, time or signature is.
func FuzzLinks(f *testing.F) {
	f.Add("job/video.mp4", "other", "expires=1&signature=00")
	f.Add("a b/ä?#%.mp4", "", "expires=9999999999&signature=")
	f.Add("a\x001", "a", "signature=%zz")
	now := time.Unix(1_800_000_000, 0)
	l := &links{base: "http://localhost:8000", secret: []byte(canary), expiry: time.Hour, now: func() time.Time { return now }}
	f.Fuzz(func(t *testing.T, key, other, query string) {
		if !ValidKey(key) {
			return
		}
		now = time.Unix(1_800_000_000, 0)
		u, err := url.Parse(l.sign(key).URL)
		if err != nil || u.Host != "localhost:8000" || u.Path != FilesPath+key || u.Fragment != "" || strings.Contains(u.String(), canary) {
			t.Fatalf("%q: %v, %v", key, u, err)
		}
		if reason := l.verify(key, u.Query()); reason != "" {
			t.Fatalf("%q: %s", key, reason)
		}
		if other != key && l.verify(other, u.Query()) == "" {
			t.Fatalf("the link to %q opens %q", key, other)
		}
		if forged, err := url.ParseQuery(query); err == nil && l.verify(key, forged) == "" && forged.Get("signature") != u.Query().Get("signature") {
			t.Fatalf("%q opens %q", query, key)
		}
		now = now.Add(time.Hour)
		if l.verify(key, u.Query()) == "" {
			t.Fatalf("%q has no end", key)
		}
	})
}
