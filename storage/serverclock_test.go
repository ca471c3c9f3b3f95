package storage_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/storage/storagetest"
)

// TestLinksFollowTheServersClock has a server whose clock is hours or years from ours: links are signed by its clock.
func TestLinksFollowTheServersClock(t *testing.T) {
	server := storagetest.StartS3(t)
	proxy := storagetest.StartProxy(t, server.Endpoint)
	for _, ahead := range []time.Duration{0, 20 * time.Second, 3 * time.Hour, -10 * 365 * 24 * time.Hour} {
		want := time.Now().Add(ahead)
		if ahead.Abs() < time.Minute { // that is no other clock
			want = time.Now()
		}
		proxy.Inject(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			return true
		})
		object, err := openS3(t, server.At(proxy.URL).Config()).Sign(t.Context(), "job/video.mp4")
		if err != nil {
			t.Fatal(err)
		}
		link, err := url.Parse(object.URL)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := time.Parse("20060102T150405Z", link.Query().Get("X-Amz-Date"))
		if err != nil || signed.Sub(want).Abs() > 10*time.Second {
			t.Errorf("%s ahead: signed at %s, %v, want %s", ahead, signed, err, want)
		}
		if object.ExpiresAt.Sub(want.Add(7*24*time.Hour)).Abs() > 10*time.Second {
			t.Errorf("%s ahead: expires at %s", ahead, object.ExpiresAt)
		}
	}
}
