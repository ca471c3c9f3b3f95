package storage_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

// TestFiles is what the suite does not ask of a server of files.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	store, err := storage.OpenLocal(storage.LocalConfig{Output: dir, BaseURL: "https://videos.example.com/x/", Secret: "one"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() }) //nolint:errcheck // a folder handle
	object, err := store.Put(t.Context(), "job/clip.mp4", write(t, "0123456789"), "video/mp4")
	if err != nil {
		t.Fatal(err)
	}
	const base = "https://videos.example.com/x"
	if !strings.HasPrefix(object.URL, base+"/files/job/clip.mp4?expires=") {
		t.Fatalf("URL %q, want %s/files/…", object.URL, base)
	}
	path := strings.TrimPrefix(object.URL, base)
	if err := os.WriteFile(filepath.Join(dir, ".SECRET.partial"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	serve := func(store *storage.Local, method, path string, header ...string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(method, path, nil)
		for i := 0; i+1 < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		store.Files().ServeHTTP(w, request)
		return w
	}

	whole := serve(store, http.MethodGet, path)
	if whole.Code != http.StatusOK || whole.Body.String() != "0123456789" || whole.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("GET: status %d, %q, headers %v", whole.Code, whole.Body, whole.Header())
	}
	if w := serve(store, http.MethodHead, path); w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "10" {
		t.Errorf("HEAD: status %d, %d bytes, headers %v", w.Code, w.Body.Len(), w.Header())
	}
	if w := serve(store, http.MethodPut, path); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: status %d, want 405", w.Code)
	}
	if w := serve(store, http.MethodGet, strings.Replace(path, "/files/", "/other/", 1)); w.Code != http.StatusNotFound {
		t.Errorf("another path: status %d, want 404", w.Code)
	}

	// A resumed download is of the version that it began with, or whole.
	etag := whole.Header().Get("ETag")
	if w := serve(store, http.MethodGet, path, "Range", "bytes=5-", "If-Range", etag); w.Code != http.StatusPartialContent || w.Body.String() != "56789" {
		t.Errorf("resumed: status %d, %q; want 206 and the rest", w.Code, w.Body)
	}
	if _, err := store.Put(t.Context(), "job/clip.mp4", write(t, "abcdefghij"), "video/mp4"); err != nil {
		t.Fatal(err)
	}
	if w := serve(store, http.MethodGet, path, "Range", "bytes=5-", "If-Range", etag); w.Code != http.StatusOK || w.Body.String() != "abcdefghij" {
		t.Errorf("resumed after another put: status %d, %q; want 200 and all of it", w.Code, w.Body)
	}

	// What is not an object is not served to a good signature either; a signature under another secret is none.
	_, query, _ := strings.Cut(path, "?")
	for _, key := range []string{"../x", ".SECRET.partial", "job", "job/", "%2e%2e/etc/passwd"} {
		if w := serve(store, http.MethodGet, "/files/"+key+"?"+query); w.Code != http.StatusForbidden {
			t.Errorf("%s under the signature of another key: status %d, want 403", key, w.Code)
		}
	}
	for name, secret := range map[string]storage.Secret{"another secret": "two", "a random one": ""} {
		other, err := storage.OpenLocal(storage.LocalConfig{Output: dir, BaseURL: base, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		if w := serve(other, http.MethodGet, path); w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d, want 403", name, w.Code)
		}
		other.Close() //nolint:errcheck // a folder handle
	}
	if w := serve(open(t, dir), http.MethodGet, path); w.Code != http.StatusNotFound {
		t.Errorf("a store of file:// URLs: status %d, want 404", w.Code)
	}

	if err := os.Remove(filepath.Join(dir, "job", "clip.mp4")); err != nil {
		t.Fatal(err)
	}
	if w := serve(store, http.MethodGet, path); w.Code != http.StatusNotFound {
		t.Errorf("a removed object: status %d, want 404", w.Code)
	}
	u, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	if w := serve(store, http.MethodGet, u.Path); w.Code != http.StatusForbidden {
		t.Errorf("a removed object without a signature: status %d, want 403", w.Code)
	}
}

func TestLocalConfig(t *testing.T) {
	for _, config := range []storage.LocalConfig{
		{BaseURL: "localhost:8000"}, {BaseURL: "ftp://x"}, {BaseURL: "http://u:p@x"}, {BaseURL: "http://x?y"}, {Expiry: 59}, {Expiry: 604801},
	} {
		config.Output = t.TempDir()
		if _, err := storage.OpenLocal(config); fault.CodeOf(err) != storage.CodeInvalidSetting {
			t.Errorf("%+v: error %v, want %s", config, err, storage.CodeInvalidSetting)
		}
	}
}

func TestNone(t *testing.T) {
	var store storage.Store = storage.None{}
	_, put := store.Put(t.Context(), "job/video.mp4", "file", "video/mp4")
	_, get := store.Get(t.Context(), "job/manifest.json")
	_, sign := store.Sign(t.Context(), "job/video.mp4")
	for what, err := range map[string]error{"Put": put, "Get": get, "Sign": sign} {
		if fault.CodeOf(err) != storage.CodeNoBucket {
			t.Errorf("%s: error %v, want %s", what, err, storage.CodeNoBucket)
			continue
		}
		for _, name := range []string{"BUCKET_ENDPOINT_URL", "BUCKET_NAME", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY", "s3Config", "output.upload_url"} {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: error %v does not name %s", what, err, name)
			}
		}
	}
}
