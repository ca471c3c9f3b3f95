package storagetest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

func testGet(t *testing.T, s Subject) {
	for _, size := range []int{0, 1000, storage.MaxGet} {
		want := content(5, size)
		put(t, s, "job/manifest.json", want)
		if got, err := s.Store.Get(t.Context(), "job/manifest.json"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("Get: %d bytes, error %v; want the %d that were put", len(got), err, size)
		}
	}
	put(t, s, "job/manifest.json", content(5, storage.MaxGet+1))
	if _, err := s.Store.Get(t.Context(), "job/manifest.json"); fault.CodeOf(err) != storage.CodeTooLarge {
		t.Errorf("Get of more than MaxGet: error %v, want %s", err, storage.CodeTooLarge)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Store.Get(ctx, "job/manifest.json"); !errors.Is(err, context.Canceled) {
		t.Errorf("Get under a cancelled context: error %v, want context.Canceled", err)
	}
}

func testNotFound(t *testing.T, s Subject) {
	put(t, s, "job/video.mp4", content(6, 10))
	for _, key := range []string{"absent", "job/absent.json", "absent/absent.json", "job", "job/video.mp4/x"} {
		if _, err := s.Store.Get(t.Context(), key); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Get(%q): error %v, want ErrNotFound", key, err)
		}
		if _, err := s.Store.Sign(t.Context(), key); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Sign(%q): error %v, want ErrNotFound", key, err)
		}
	}
}

// testSign: a later link is another one, ends later, and the first is still good.
func testSign(t *testing.T, s Subject) {
	want := content(7, 1000)
	put(t, s, "job/video.mp4", want)
	first, err := s.Backdated(time.Hour).Sign(t.Context(), "job/video.mp4")
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Store.Sign(t.Context(), "job/video.mp4")
	if err != nil {
		t.Fatal(err)
	}
	if first.URL == second.URL || !second.ExpiresAt.After(first.ExpiresAt) || second.Key != "job/video.mp4" {
		t.Errorf("Sign gave %q until %v and an hour later %q until %v", first.URL, first.ExpiresAt, second.URL, second.ExpiresAt)
	}
	holds(t, first, want)
	holds(t, second, want)
}

func testExpiry(t *testing.T, s Subject) {
	put(t, s, "job/video.mp4", content(8, 10))
	for _, lifetime := range []time.Duration{storage.MinExpiry, time.Hour, storage.MaxExpiry} {
		store, err := storage.WithExpiry(s.Store, lifetime)
		if err != nil {
			t.Fatal(err)
		}
		object, err := store.Sign(t.Context(), "job/video.mp4")
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(object.ExpiresAt) - lifetime; off > 0 || off < -5*time.Second {
			t.Errorf("the URL ends in %v, want %v", time.Until(object.ExpiresAt), lifetime)
		}
		if got := get(t, object.URL); got.status != http.StatusOK {
			t.Errorf("lifetime %v: status %d, want 200: %s", lifetime, got.status, got.body)
		}
	}
	for _, lifetime := range []time.Duration{-time.Hour, 0, storage.MinExpiry - 1, storage.MaxExpiry + 1} {
		if _, err := storage.WithExpiry(s.Store, lifetime); fault.CodeOf(err) != "out_of_range" {
			t.Errorf("lifetime %v: error %v, want out_of_range", lifetime, err)
		}
	}
}

// testExpired: the same lifetime, begun 1 second short of it and 1 second over it ago.
func testExpired(t *testing.T, s Subject) {
	put(t, s, "job/video.mp4", content(9, 10))
	for age, want := range map[time.Duration]int{50 * time.Second: http.StatusOK, 61 * time.Second: http.StatusForbidden} {
		store, err := storage.WithExpiry(s.Backdated(age), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		object, err := store.Sign(t.Context(), "job/video.mp4")
		if err != nil {
			t.Fatal(err)
		}
		if got := get(t, object.URL); got.status != want {
			t.Errorf("a link of 1 minute after %v: status %d, want %d: %s", age, got.status, want, got.body)
		}
	}
}

func testUnsigned(t *testing.T, s Subject) {
	object := put(t, s, "job/video.mp4", content(10, 10))
	bare, _, _ := strings.Cut(object.URL, "?")
	absent := strings.Replace(bare, "video.mp4", "absent.mp4", 1)
	for _, address := range []string{bare, bare + "?", absent} {
		refused(t, address)
	}
}

// testTampered changes each part of a link.
func testTampered(t *testing.T, s Subject) {
	put(t, s, "job/other.mp4", content(11, 10))
	object := put(t, s, "job/video.mp4", content(12, 10))
	u, err := url.Parse(object.URL)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, strings.Replace(object.URL, "video.mp4", "other.mp4", 1))
	for name, values := range u.Query() {
		query := u.Query()
		if name == "x-id" { // the SDK's note to itself; not all servers sign it
			continue
		}
		for what, value := range map[string]string{"changed": changed(values[0]), "empty": "", "longer": values[0] + "0"} {
			query.Set(name, value)
			tampered := *u
			tampered.RawQuery = query.Encode()
			if got := get(t, tampered.String()); got.status/100 != 4 { // where the rest makes no sense it is 400, or 404
				t.Errorf("%s %s: status %d, want a refusal: %s", name, what, got.status, got.body)
			}
		}
		if strings.HasSuffix(strings.ToLower(name), "signature") { // a signature of the right form that is not the right one
			query.Set(name, changed(values[0]))
			tampered := *u
			tampered.RawQuery = query.Encode()
			refused(t, tampered.String())
		}
	}
	if got := get(t, object.URL); got.status != http.StatusOK {
		t.Errorf("untampered: status %d, want 200: %s", got.status, got.body)
	}
}

// changed is text with another first digit.
func changed(text string) string {
	if text[0] == '1' {
		return "2" + text[1:]
	}
	return "1" + text[1:]
}

func refused(t *testing.T, address string) {
	t.Helper()
	if got := get(t, address); got.status != http.StatusForbidden {
		t.Errorf("%s: status %d, want 403: %s", address, got.status, got.body)
	}
}

func testRange(t *testing.T, s Subject) {
	want := content(13, 10_000)
	object := put(t, s, "job/video.mp4", want)
	for header, part := range map[string][]byte{"bytes=0-99": want[:100], "bytes=9000-": want[9000:], "bytes=-1": want[9999:]} {
		got := get(t, object.URL, "Range", header)
		if got.status != http.StatusPartialContent || !bytes.Equal(got.body, part) {
			t.Errorf("Range %s: status %d and %d bytes, want 206 and %d", header, got.status, len(got.body), len(part))
		}
	}
	if got := get(t, object.URL, "Range", "bytes=10000-"); got.status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range after the end: status %d, want 416", got.status)
	}
}
