package runpod

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// FuzzStop reads any answer of the stop channel: exactly the jobs that it names by a text are cancelled, and no other; an answer
// that cannot be read stops nobody.
func FuzzStop(f *testing.F) {
	for _, body := range []string{`{"jobsToStop": ["a"]}`, `{"jobsToStop": ["b", 7, null, "", "gone"]}`, `{"jobsToStop": "a"}`, `{"JOBSTOSTOP": ["a"]}`, `[]`, `{"jobsToStop": ["a"`, `{"jobsToStop": null}`, "{\"jobsToStop\": [\"\xff\"]}"} {
		f.Add(body, "application/json")
	}
	f.Add(`{"jobsToStop": ["a"]}`, "text/html")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		l := &ledger{records: map[string]*record{}, t: DefaultTiming(), log: zerolog.Nop()}
		s := &session{desk: newDesk(l), log: zerolog.Nop()}
		open := map[string]*entry{}
		for _, id := range []string{"a", "b", "c"} {
			open[id], _ = s.desk.admit(id)
		}
		named := s.stopJobs(reply{status: 200, contentType: contentType, body: []byte(body)})
		var answer struct {
			Jobs []any `json:"jobsToStop"`
		}
		readable := json.Unmarshal([]byte(body), &answer) == nil && contentType == "application/json"
		if named != (readable && len(answer.Jobs) > 0) {
			t.Fatalf("%q (%s): it names jobs: %t", body, contentType, named)
		}
		want := map[string]bool{}
		for _, v := range answer.Jobs {
			if id, ok := v.(string); ok && readable {
				want[id] = true
			}
		}
		for id, e := range open {
			if (e.ctx.Err() != nil) != want[id] {
				t.Fatalf("%q: %s is cancelled: %v", body, id, e.ctx.Err())
			}
		}
		delete(want, "")
		if len(l.records) != len(want) {
			t.Fatalf("%q: %d jobs are remembered, %d named", body, len(l.records), len(want))
		}
	})
}

// answering is a server that answers with one thing.
type answering struct {
	status                int
	body, kind, later     string
	authorization, sentTo string
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.authorization, a.sentTo = r.Header.Get("Authorization"), r.URL.String()
	return &http.Response{
		StatusCode: a.status, Body: io.NopCloser(strings.NewReader(a.body)), Request: r,
		Header: http.Header{"Content-Type": {a.kind}, "Retry-After": {a.later}},
	}, nil
}

// FuzzReply reads any answer to a ping, a take or a post: it is bounded, a wait is never longer than the limit or negative, and
// what is logged of it is short and holds neither the key nor the address.
func FuzzReply(f *testing.F) {
	f.Add(200, `{"jobsToStop": []}`, "application/json; charset=utf-8", "")
	f.Add(429, "slow down", "text/plain", "30")
	f.Add(500, strings.Repeat("\xff", 2000), "TEXT/HTML ;", "99999999999")
	f.Add(204, "", "", "-1")
	f.Add(999, "\x00\n", ";", "9223372037")
	f.Fuzz(func(t *testing.T, status int, body, kind, later string) {
		server := &answering{status: status, body: body, kind: kind, later: later}
		c := &client{key: canary, heartbeat: &http.Client{Transport: server, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		c.polls, c.posts = c.heartbeat, c.heartbeat
		a := c.beat(t.Context(), "https://api.example/ping?secret="+canary)
		if server.authorization != canary {
			t.Fatalf("sent to %s with the key %q", server.sentTo, server.authorization)
		}
		if a.err == nil && (a.status != status || string(a.body) != body || len(a.body) > maxReplyBody) || a.err != nil && len(body) <= maxReplyBody && status/100 != 3 {
			t.Fatalf("%d, %d bytes: %s", status, len(body), a)
		}
		if strings.ContainsAny(a.contentType, "; \t") && !strings.ContainsAny(strings.TrimSpace(strings.Split(kind, ";")[0]), " \t") || a.contentType != strings.ToLower(a.contentType) {
			t.Fatalf("%q is the type %q", kind, a.contentType)
		}
		timing := DefaultTiming()
		if wait := a.wait(timing); wait <= 0 || wait > max(timing.RetryAfterMax, timing.Throttled) {
			t.Fatalf("%q: wait %s", later, wait)
		}
		var seconds int64
		if n, err := fmt.Sscanf(later, "%d", &seconds); err == nil && n == 1 && fmt.Sprint(seconds) == later && seconds > 1<<33 && a.wait(timing) != timing.Throttled {
			t.Fatalf("%q: wait %s", later, a.wait(timing))
		}
		if shown := a.String(); len(shown) > 600 || strings.Contains(shown, canary) && !strings.Contains(body, canary) {
			t.Fatalf("logged as %q", shown)
		}
	})
}

// FuzzSecrets reads any JSON as the bucket that a job brings: nothing that is printed, written as JSON, logged or answered holds
// a key that stands where keys belong, and no problem quotes any of it.
func FuzzSecrets(f *testing.F) {
	for _, seed := range []string{`{"accessId": "x", "accessSecret": "` + canary + `"}`, `{"accessSecret": {"` + canary + `": "` + canary + `"}}`, `"` + canary + `"`, `["` + canary + `"]`,
		`{"ACCESSID": "` + canary + `"}`, `{"accessSecret": "` + canary + `", "region": 7}`, `{"accessSecret": "\u0026<` + canary + `\"\\"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s3 string) {
		if !json.Valid([]byte(s3)) {
			return
		}
		for _, body := range []string{`{"id": "a", "input": {}, "s3Config": ` + s3 + `}`, `{"input": {}, "s3Config": ` + s3 + `}`, `{"id": "a", "s3Config": ` + s3 + `}`} {
			job, err := parseJob(json.RawMessage(body))
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Fatalf("%s: %v", body, err)
			}
			if err != nil || job.S3 == nil || strings.Contains(job.S3.BucketName+job.S3.EndpointURL+job.S3.ObjectPath+job.S3.Region, canary) {
				continue
			}
			written, err := json.Marshal(job)
			if shown := fmt.Sprintf("%v %+v %#v %+v %s", job.S3, *job.S3, *job.S3, job.Extra, written); err != nil || strings.Contains(shown, canary) {
				t.Fatalf("%s is shown as %s, %v", body, shown, err)
			}
			r := NewRedactor(Config{}, nil)
			remove := r.add(job)
			for _, secret := range []Secret{job.S3.AccessID, job.S3.AccessSecret} {
				text := "the key " + string(secret) + " is wrong"
				if clean := r.Text(text); strings.Contains(string(secret), canary) && strings.Contains(clean, string(secret)) {
					t.Fatalf("%q is logged as %q", text, clean)
				}
			}
			remove()
			if text := "the key " + canary + " is wrong"; r.Text(text) != text {
				t.Fatalf("%s is hidden for ever: %q", body, r.Text(text))
			}
		}
	})
}

// FuzzPingInterval: whatever RunPod sets, the heart beats, and not too fast.
func FuzzPingInterval(f *testing.F) {
	for _, seed := range []string{"", "10000", "0", "-5", "1e4", " 2000 ", "99999999999", "2147483647", "1_000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		timing := DefaultTiming()
		if d := (Config{PingInterval: text, Timing: timing}).pingInterval(); d < timing.PingMin || d > 25*24*time.Hour {
			t.Fatalf("%q: every %s", text, d)
		}
	})
}
