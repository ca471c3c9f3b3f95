package localapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// An upload's name in a job stands for its bytes; it lives an hour after its last use.
func TestUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, echo)
		voice := bytes.Repeat([]byte{0, 255, '"', '\\'}, 1000)
		up := decode[Upload](t, b.ask("POST", "/uploads", string(voice), "Content-Type", "audio/wav; x=y", "X-Filename", "my%20voice.wav"))
		if up.Bytes != 4000 || !strings.HasPrefix(up.Source, "upload:") || !up.ExpiresAt.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("%+v", up)
		}
		name := strings.TrimPrefix(up.Source, "upload:")
		if w := b.ask("GET", "/uploads/"+name, ""); w.Body.String() != string(voice) || w.Header().Get("Content-Type") != "audio/wav" || w.Header().Get("X-Filename") != "my%20voice.wav" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		if w := b.ask("GET", "/uploads/"+name, "", "Range", "bytes=1-2"); w.Code != 206 || w.Body.Len() != 2 {
			t.Errorf("a range: %d", w.Code)
		}
		s := must[Status](t, b, "POST", "/runsync", `{"input": {"upload:x": "`+up.Source+`", "b": ["`+up.Source+`", "\"`+up.Source+`", " `+up.Source+`"], "wait": 7200000000000}}`)
		if s.State != InProgress {
			t.Fatalf("%+v", s)
		}
		refused(t, b, "DELETE", "/uploads/"+name, "", 409, "upload_in_use")
		if s = must[Status](t, b, "POST", "/status-sync/"+s.ID, ""); s.State != InProgress {
			t.Fatalf("%+v", s)
		}
		time.Sleep(121 * time.Minute)
		s = must[Status](t, b, "POST", "/status/"+s.ID, "")
		var out struct {
			A struct{ Data string } `json:"upload:x"`
			B []json.RawMessage
		}
		if err := json.Unmarshal(s.Output, &out); err != nil {
			t.Fatalf("%v: %s", err, s.Output)
		}
		if data, err := base64.StdEncoding.DecodeString(out.A.Data); err != nil || !bytes.Equal(data, voice) || string(out.B[1]) != `"\"`+up.Source+`"` {
			t.Errorf("the job got %q, %v", out, err)
		}
		if in := string(must[Entry](t, b, "GET", "/jobs/"+s.ID, "").Input); !strings.Contains(in, up.Source) || len(in) > 500 {
			t.Errorf("the history shows %s", in)
		}
		time.Sleep(55 * time.Minute)
		must[Ticket](t, b, "POST", "/run", `{"input": {"a": "`+up.Source+`"}}`)
		time.Sleep(62 * time.Minute)
		if p := refused(t, b, "POST", "/run", `{"input": {"images": [1, "`+up.Source+`"]}}`, 400, "upload_not_found"); p.Field != "images[1]" {
			t.Errorf("%+v", p)
		}
		if left, err := os.ReadDir(b.UploadDir); err != nil || len(left) != 0 || b.uploads.bytes != 0 {
			t.Errorf("left: %v, %v, %d bytes", left, err, b.uploads.bytes)
		}
	})
}

func TestUploadsThatAreRefused(t *testing.T) {
	b := newBench(t, echo)
	refused(t, b, "POST", "/uploads", "", 400, "empty_upload")
	refused(t, b, "GET", "/uploads/ABCDEFGHIJKLMNOPQRSTUVWXYZ", "", 404, "upload_not_found")
	refused(t, b, "DELETE", "/uploads/ABCDEFGHIJKLMNOPQRSTUVWXYZ", "", 404, "upload_not_found")
	refused(t, b, "GET", "/uploads/..%2fx", "", 404, "not_found")
	for kind, want := range map[string]string{"text/html": "application/octet-stream", "image/svg+xml": "application/octet-stream", "": "application/octet-stream", "image/png": "image/png"} {
		up := decode[Upload](t, b.ask("POST", "/uploads", "<script>", "Content-Type", kind, "X-Filename", "a\nb"))
		w := b.ask("GET", "/uploads/"+strings.TrimPrefix(up.Source, "upload:"), "")
		if got := w.Header().Get("Content-Type"); got != want || w.Header().Get("X-Filename") != "" || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s is served as %s, %v", kind, got, w.Header())
		}
	}
	if _, err := b.uploads.put(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(fmt.Errorf("cut off"))), "", ""); err == nil {
		t.Error("half an upload is kept")
	}
	b.uploads.mu.Lock()
	before := b.uploads.bytes
	b.uploads.bytes = maxUploads - 2
	b.uploads.mu.Unlock()
	refused(t, b, "POST", "/uploads", "abc", 429, "uploads_full")
	b.uploads.mu.Lock()
	if b.uploads.bytes != maxUploads-2 {
		t.Errorf("a refused upload takes %d bytes", b.uploads.bytes-maxUploads+2)
	}
	b.uploads.bytes = before
	b.uploads.mu.Unlock()
	for len(b.uploads.files) < maxUploadFiles {
		must[Upload](t, b, "POST", "/uploads", "x")
	}
	refused(t, b, "POST", "/uploads", "x", 429, "uploads_full")
	if left, err := os.ReadDir(b.UploadDir); err != nil || len(left) != maxUploadFiles {
		t.Errorf("%d files, %v", len(left), err)
	}
}

// A job whose upload's file is gone says so.
func TestUploadFileGone(t *testing.T) {
	b := newBench(t, func(context.Context, runpod.Job, runpod.Reporter) (runpod.Result, error) {
		return runpod.Result{Output: "ran"}, nil
	})
	up := must[Upload](t, b, "POST", "/uploads", "x")
	if err := os.Remove(b.UploadDir + "/" + strings.TrimPrefix(up.Source, "upload:")); err != nil {
		t.Fatal(err)
	}
	if s := must[Status](t, b, "POST", "/runsync", `{"input": "`+up.Source+`"}`); s.State != Failed || !strings.Contains(s.Error, "send the file again") {
		t.Errorf("%+v", s)
	}
}

// Whatever the input is: what is found stands where it is said to stand, and the filled input is JSON.
func FuzzReferences(f *testing.F) {
	const name = "upload:ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, seed := range []string{`"` + name + `"`, `{"` + name + `": ["` + name + `", {"a": "` + name + `"}]}`, `["\"` + name + `", "\u0075` + name[1:] + `"]`, `[[], {}, 1, null, "` + name + `"]`, "\"upload:\xff\""} {
		f.Add(seed)
	}
	dir := f.TempDir()
	if err := os.WriteFile(dir+"/ABCDEFGHIJKLMNOPQRSTUVWXYZ", []byte{0, 1, 2}, 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input string) {
		if !json.Valid([]byte(input)) {
			return
		}
		for _, r := range references([]byte(input)) {
			if input[r.from:r.to] != `"upload:`+r.name+`"` {
				t.Errorf("%q: %+v", input, r)
			}
		}
		u := newUploads(dir)
		if out, err := u.filled([]byte(input)); err == nil && !json.Valid(out) {
			t.Errorf("%q becomes %q", input, out)
		}
		shortened([]byte(input))
	})
}

// Whatever the body is: it is refused with a reason, or it is a job.
func FuzzRequest(f *testing.F) {
	f.Add(`{"input": {}, "policy": {"ttl": 1}, "webhook": "https://a", "s3Config": {"accessId": "a"}, "id": "x"}`)
	f.Add(`{"input": null}`)
	f.Fuzz(func(t *testing.T, body string) {
		r, err := readRequest([]byte(body))
		if refusal, ok := err.(*refusal); err != nil && (!ok || refusal.status != 400 || refusal.Problem.Error == "" || refusal.Code == "") { //nolint:errorlint // the very error
			t.Errorf("%q: %v", body, err)
		}
		if err == nil && (len(r.Input) == 0 || !json.Valid(r.Input)) {
			t.Errorf("%q: input %q", body, r.Input)
		}
	})
}
