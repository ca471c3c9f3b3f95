package localapi

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// FuzzUploadName asks for an upload under any name: only the name that was given out leads to a file, and no answer is anything
// of the folder or beside it.
func FuzzUploadName(f *testing.F) {
	for _, seed := range []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "..", "../secret", "%2e%2e%2fsecret", ".", "", "a/b", "upload:ABCDEFGHIJKLMNOPQRSTUVWXYZ", "\x00", "abcdefghijklmnopqrstuvwxyz"} {
		f.Add(seed)
	}
	b := newBench(f, func(context.Context, runpod.Job, runpod.Reporter) (runpod.Result, error) { return runpod.Result{}, nil })
	up := must[Upload](f, b, "POST", "/uploads", "mine")
	name := strings.TrimPrefix(up.Source, uploadScheme)
	for _, path := range []string{b.UploadDir + "/secret", b.UploadDir + "/ABCDEFGHIJKLMNOPQRSTUVWXYZ"} { // known to nobody
		if err := os.WriteFile(path, []byte("CANARY"), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, asked string) {
		if asked == name {
			return
		}
		path := "/uploads/" + url.PathEscape(asked)
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			w := b.ask(method, path, "")
			if w.Code < 300 || w.Code >= 500 || strings.Contains(w.Body.String(), "CANARY") || strings.Contains(w.Body.String(), b.UploadDir) {
				t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
		if w := b.ask(http.MethodGet, "/uploads/"+name, ""); w.Code != http.StatusOK || w.Body.String() != "mine" {
			t.Fatalf("after %s the upload is %d %s", path, w.Code, w.Body)
		}
		if _, err := b.uploads.named([]byte(`{"audio": "` + uploadScheme + name + `"}`)); err != nil {
			t.Fatalf("after %s: %v", path, err)
		}
	})
}

// FuzzUploadLabel: a client's name and type for a file come back as one plain header each or not at all, and nothing that a
// browser would run is served as what it says it is.
func FuzzUploadLabel(f *testing.F) {
	for _, seed := range [][2]string{{"image/png", "voice%20%C3%A4.wav"}, {"text/html", "a\r\nSet-Cookie: x"}, {"image/svg+xml", "%zz"}, {"audio/../text/html", "<script>"}, {"AUDIO/WAV; x=\"\r\n\"", "%0d%0a"}, {"video/mp4;charset", ""}, {"image/png;", "\xff"}, {"audio/", "a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, given, name string) {
		kind := mediaType(given)
		group, sub, ok := strings.Cut(kind, "/")
		if !ok || kind != "application/octet-stream" && group != "audio" && group != "video" && group != "image" || strings.Contains(sub, "svg") && group == "image" || strings.ContainsAny(kind, "; \r\n\"<>,") {
			t.Fatalf("%q is served as %q", given, kind)
		}
		if kind != mediaType(kind) {
			t.Fatalf("%q is %q, and that is %q", given, kind, mediaType(kind))
		}
		if l := label(name); l != "" && (l != name || strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r > '~' })) || len(name) > 1000 && l != "" {
			t.Fatalf("%q is called %q", name, l)
		}
	})
}
