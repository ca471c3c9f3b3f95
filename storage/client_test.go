package storage

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestPatientTransport: what moves may take its time, what does not move ends.
func TestPatientTransport(t *testing.T) {
	const idle = 200 * time.Millisecond
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-release
		case "/stops":
			io.WriteString(w, "begun") //nolint:errcheck // the client may be gone
			w.(http.Flusher).Flush()
			<-release
		case "/slow":
			for range 8 {
				io.WriteString(w, "x") //nolint:errcheck // the client may be gone
				w.(http.Flusher).Flush()
				time.Sleep(idle / 4)
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) }) // before the server's
	client := &http.Client{Transport: patientTransport{http.DefaultTransport, idle}}
	get := func(path string) (string, error) {
		answer, err := client.Get(server.URL + path)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close() //nolint:errcheck // only read from
		body, err := io.ReadAll(answer.Body)
		return string(body), err
	}
	if body, err := get("/slow"); err != nil || body != "xxxxxxxx" {
		t.Errorf("slow: %q, error %v; want all of it", body, err)
	}
	if _, err := get("/silent"); !errors.Is(err, stalled{}) {
		t.Errorf("silent: error %v, want that nothing moves", err)
	}
	if body, err := get("/stops"); err == nil || body != "begun" {
		t.Errorf("stops: %q, error %v; want the beginning and an error", body, err)
	}

	// A body that comes slowly is an upload that moves.
	r, w := io.Pipe()
	go func() {
		for range 8 {
			io.WriteString(w, "x") //nolint:errcheck // the request may have ended
			time.Sleep(idle / 4)
		}
		w.Close() //nolint:errcheck // a pipe
	}()
	answer, err := client.Post(server.URL, "text/plain", r)
	if err != nil {
		t.Fatalf("a slow upload: %v", err)
	}
	answer.Body.Close() //nolint:errcheck // it has none

	big := &movingBody{ReadCloser: io.NopCloser(strings.NewReader(strings.Repeat("x", 100))), moved: func() {}, bounded: true, left: 50}
	if _, err := io.ReadAll(big); !errors.Is(err, errAnswerTooLong) {
		t.Errorf("a long answer: error %v, want %v", err, errAnswerTooLong)
	}
}
