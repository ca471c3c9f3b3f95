package page_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/handler/localapi/page"
)

func ask(method, path string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	page.Handler("https://bucket.example").ServeHTTP(answer, request)
	return answer
}

func TestHandler(t *testing.T) {
	for _, path := range page.Paths() {
		answer := ask(http.MethodGet, path)
		h := answer.Header()
		if answer.Code != http.StatusOK || answer.Body.Len() == 0 || h.Get("Content-Type") == "" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, %d bytes, %v", path, answer.Code, answer.Body.Len(), h)
		}
		policy := h.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "media-src 'self' blob: https://bucket.example;") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
		if again := ask(http.MethodGet, path, "If-None-Match", h.Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s: the same again is %d with %d bytes", path, again.Code, again.Body.Len())
		}
		if head := ask(http.MethodHead, path); head.Code != http.StatusOK || head.Body.Len() > 0 {
			t.Errorf("%s: HEAD is %d with %d bytes", path, head.Code, head.Body.Len())
		}
	}
	for _, path := range []string{"/page/", "/page/index.html", "/page/../page.go", "/other"} {
		if answer := ask(http.MethodGet, path); answer.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, answer.Code)
		}
	}
	if answer := ask(http.MethodPost, "/"); answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("a POST: %d, Allow %q", answer.Code, answer.Header().Get("Allow"))
	}
}

// TestReferences: whatever the page names is there, and is the page's own.
func TestReferences(t *testing.T) {
	entries, err := os.ReadDir("assets")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	used := map[string]bool{"index.html": true}
	elsewhere := regexp.MustCompile(`(?:https?:)?//[a-z0-9-]+\.[a-z][^"]*`)
	reference := regexp.MustCompile(`(?:(?:src|href)="page/|from "\./)([^"]+)"`)
	for name := range names {
		data, err := os.ReadFile("assets/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reference.FindAllStringSubmatch(string(data), -1) {
			used[m[1]] = true
			if !names[m[1]] {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
		for _, other := range elsewhere.FindAllString(string(data), -1) {
			if other != "http://www.w3.org/2000/svg" { // the name of a language
				t.Errorf("%s names another server: %s", name, other)
			}
		}
		for _, forbidden := range []string{"innerHTML", "eval(", "style=", "onclick=\"", "document.write"} {
			if strings.Contains(string(data), forbidden) {
				t.Errorf("%s has %s, which the policy forbids", name, forbidden)
			}
		}
	}
	for name := range names {
		if !used[name] {
			t.Errorf("%s is used by nothing", name)
		}
	}
}
