package handler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler/fetch"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

// cloud is a server that keeps what is put to it: as much of S3 as a small object needs, and presigned PUTs. Real
// servers are in storage's tests.
type cloud struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]string // path → content
	types   map[string]string
	queries []string // of puts
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{objects: map[string]string{}, types: map[string]string{}}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Method == http.MethodPut {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.objects[r.URL.Path], c.types[r.URL.Path] = string(data), r.Header.Get("Content-Type")
		c.queries = append(c.queries, r.URL.RawQuery)
		return
	}
	data, ok := c.objects[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `<Error><Code>NoSuchKey</Code></Error>`) //nolint:errcheck // the client is in this process
		return
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(data))
}

func (c *cloud) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name := range c.objects {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// home lets handlers reach a server of this test.
var home = fetch.Config{AllowPrivate: true}

// canaries are secrets that may be nowhere but where they belong.
const (
	accessID     = "CANARYID"
	accessSecret = "canary-secret"
	signature    = "canary-signature"
)

func (c *cloud) s3Config(more string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"accessId": %q, "accessSecret": %q, "bucketName": "bucket", "endpointUrl": %q%s}`, accessID, accessSecret, c.URL, more))
}

// TestCheck58_OwnBucket: a job's bucket gets the video and the manifest; its links are signed, for as long as the job says.
func TestCheck58_OwnBucket(t *testing.T) {
	c, b := newCloud(t), newBenchWith(t, Config{Fetch: home})
	job := Job{ID: "job-1", S3: c.s3Config(`, "objectPath": "a/b"`), Input: json.RawMessage(`{` + valid + `"output": {"expires_in": 300}}`)}
	result, err := b.handleJob(t, job)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/bucket/a/b/job-1/manifest.json", "/bucket/a/b/job-1/video.mp4"}, c.names()); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if c.types["/bucket/a/b/job-1/video.mp4"] != "video/mp4" || c.types["/bucket/a/b/job-1/manifest.json"] != "application/json" || entries(t, b.out) > 0 {
		t.Errorf("types %v; %d entries in the endpoint's store", c.types, entries(t, b.out))
	}
	for _, link := range []string{result.VideoURL, result.ManifestURL} {
		u, err := url.Parse(link)
		if err != nil || u.Query().Get("X-Amz-Expires") != "300" || u.Query().Get("X-Amz-Signature") == "" {
			t.Errorf("link %s: %v", link, err)
		}
	}
	if left := time.Until(result.ExpiresAt); left < 4*time.Minute || left > 5*time.Minute || result.Key != "job-1/video.mp4" {
		t.Errorf("key %q, %s left", result.Key, left)
	}

	again, err := b.handleJob(t, job)
	if err != nil || len(b.engine.specs) != 1 {
		t.Fatalf("the second delivery: %d clips, error %v", len(b.engine.specs), err)
	}
	for _, r := range []*Result{result, again} {
		r.VideoURL, r.ManifestURL, r.ExpiresAt = withoutQuery(r.VideoURL), withoutQuery(r.ManifestURL), time.Time{}
	}
	if diff := cmp.Diff(result, again); diff != "" {
		t.Errorf("the answers differ in more than signatures (-first +second):\n%s", diff)
	}
}

// TestUpload: a presigned address gets the video instead of the store, which keeps the manifest.
func TestUpload(t *testing.T) {
	c, b := newCloud(t), newBenchWith(t, Config{Fetch: home})
	input := func(signature string) string {
		return `{` + valid + `"output": {"upload_url": "` + c.URL + `/put/here.mp4?X-Sig=` + signature + `&b=%2F"}}`
	}
	result, err := b.handle(t, input(signature))
	if err != nil {
		t.Fatal(err)
	}
	if c.objects["/put/here.mp4"] != "mp4" || c.types["/put/here.mp4"] != "video/mp4" || !slices.Equal(c.queries, []string{"X-Sig=" + signature + "&b=%2F"}) {
		t.Errorf("uploaded %v with %q", c.objects, c.queries)
	}
	if result.VideoURL != c.URL+"/put/here.mp4" || result.Key != "" || !result.ExpiresAt.IsZero() || result.ManifestURL != "file://"+b.out+"/job-1/manifest.json" {
		t.Errorf("%+v", result)
	}
	if entries(t, filepath.Join(b.out, "job-1")) != 1 {
		t.Error("the video is in the store, too")
	}
	again, err := b.handle(t, input("another")) // the same address, signed anew
	if diff := cmp.Diff(result, again); diff != "" || err != nil || len(b.engine.specs) != 1 || len(c.queries) != 1 {
		t.Errorf("the second delivery: %d clips, error %v (-first +second):\n%s", len(b.engine.specs), err, diff)
	}
	elsewhere := strings.Replace(input(signature), "here", "there", 1)
	if result, err := b.handle(t, elsewhere); err != nil || !result.Replaced || c.objects["/put/there.mp4"] != "mp4" {
		t.Errorf("another address: %+v, error %v", result, err)
	}
}

// TestCheck59_NoBucket: where nobody could fetch the result from this machine, a job needs a bucket or an address, and
// learns so before anything is made.
func TestCheck59_NoBucket(t *testing.T) {
	c, b := newCloud(t), newBenchWith(t, Config{Fetch: home, RequireBucket: true})
	_, err := b.handle(t, `{`+valid+`"width": 7}`)
	var fields []string
	for _, p := range ProblemsOf(err) {
		fields = append(fields, p.Field)
	}
	if diff := cmp.Diff([]string{"width", "BUCKET_ENDPOINT_URL"}, fields); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	for _, name := range []string{"BUCKET_ENDPOINT_URL", "BUCKET_NAME", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q does not name %s", err, name)
		}
	}
	if len(b.engine.specs) > 0 {
		t.Error("a clip was made")
	}

	if result, err := b.handleJob(t, Job{ID: "j", S3: c.s3Config(""), Input: json.RawMessage(rejob)}); err != nil || strings.HasPrefix(result.VideoURL, "file:") {
		t.Errorf("with a bucket: %+v, error %v", result, err)
	}
	upload := `{` + valid + `"output": {"upload_url": "` + c.URL + `/put"}}`
	result, err := b.handle(t, upload)
	if err != nil || result.VideoURL != c.URL+"/put" || result.ManifestURL != "" || entries(t, b.out) > 0 {
		t.Errorf("with an address: %+v, error %v", result, err)
	}
	if result, err := b.handle(t, upload); err != nil || result.Replaced || len(b.engine.specs) != 3 {
		t.Errorf("without a place for a manifest a job is done again: %+v after %d clips, error %v", result, len(b.engine.specs), err)
	}
	// An estimate goes nowhere. What else is wrong with its destination is told all the same.
	dry := len(b.engine.specs)
	if result, err := b.handle(t, `{`+valid+`"dry_run": true}`); err != nil || !result.DryRun || result.Estimate.Steps != 50 || len(b.engine.specs) != dry {
		t.Errorf("a dry run without a bucket: %+v, error %v", result, err)
	}
	_, err = b.handle(t, `{`+valid+`"dry_run": true, "output": {"expires_in": 1}}`)
	if p := ProblemsOf(err); len(p) != 1 || p[0].Field != "output.expires_in" {
		t.Errorf("a dry run with a wrong destination: %v", err)
	}
}

// TestNoStore: the store of a worker without a bucket refuses at once, too.
func TestNoStore(t *testing.T) {
	b := newBench(t)
	h, err := New(b.config, b.engine, storage.None{}, b.scratch, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Handle(t.Context(), Job{ID: "j", Input: json.RawMessage(rejob)}, &b.progressed); fault.CodeOf(err) != storage.CodeNoBucket || len(b.engine.specs) > 0 {
		t.Errorf("%d clips, error %v", len(b.engine.specs), err)
	}
	if result, err := h.Handle(t.Context(), Job{ID: "j", Input: json.RawMessage(strings.TrimSuffix(rejob, "}") + `, "dry_run": true}`)}, &b.progressed); err != nil || !result.DryRun {
		t.Errorf("a dry run: %+v, error %v", result, err)
	}
}

func TestProblemsOfDestinations(t *testing.T) {
	c := newCloud(t)
	upload := `{` + valid + `"output": {"upload_url": "` + c.URL + `/put?s=` + signature + `"}}`
	for _, test := range []struct {
		name   string
		config Config
		s3     string
		input  string
		code   string
		field  string
	}{
		{"unknown key", Config{Fetch: home}, string(c.s3Config(`, "objectpath": "x"`)), rejob, CodeUnknownField, "s3Config.objectpath"},
		{"no object", Config{Fetch: home}, `"` + accessSecret + `"`, rejob, CodeWrongType, "s3Config"},
		{"no text", Config{Fetch: home}, `{"accessSecret": ["` + accessSecret + `"]}`, rejob, CodeWrongType, "s3Config"},
		{"no bucket", Config{Fetch: home}, strings.Replace(string(c.s3Config("")), `"bucketName": "bucket", `, "", 1), rejob, storage.CodeInvalidSetting, "s3Config.bucketName"},
		{"own bucket only, s3Config", Config{Fetch: home, OwnBucketOnly: true}, string(c.s3Config("")), rejob, CodeDestination, "s3Config"},
		{"own bucket only, upload_url", Config{Fetch: home, OwnBucketOnly: true}, "", upload, CodeDestination, "output.upload_url"},
		{"password in the address", Config{}, "", `{` + valid + `"output": {"upload_url": "https://u:` + accessSecret + `@example.com/"}}`, CodeInvalidURL, "output.upload_url"},
		{"not an address", Config{}, "", `{` + valid + `"output": {"upload_url": "` + accessSecret + `"}}`, CodeInvalidURL, "output.upload_url"},
		{"too long an address", Config{}, "", `{` + valid + `"output": {"upload_url": "https://example.com/` + strings.Repeat("a", MaxURL) + `"}}`, CodeOutOfRange, "output.upload_url"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBenchWith(t, test.config)
			_, err := b.handleJob(t, Job{ID: "j", S3: json.RawMessage(test.s3), Input: json.RawMessage(test.input)})
			got := FailureOf(err)
			if e := got.Output.Error; e.Code != test.code || e.Field != test.field || len(e.Detail) != 1 {
				t.Errorf("%+v, want one problem %s of %s", got, test.code, test.field)
			}
			if len(b.engine.specs) > 0 || len(c.names()) > 0 {
				t.Errorf("%d clips, stored %q", len(b.engine.specs), c.names())
			}
			noCanary(t, b, err, nil)
		})
	}
}

// TestPrivateDestinations: what jobs bring is reached like what they send: not at private addresses.
func TestPrivateDestinations(t *testing.T) {
	c := newCloud(t)
	for name, job := range map[string]Job{
		"s3Config":   {ID: "j", S3: c.s3Config(""), Input: json.RawMessage(rejob)},
		"upload_url": {ID: "j", Input: json.RawMessage(`{` + valid + `"output": {"upload_url": "` + c.URL + `/put?s=` + signature + `"}}`)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.handleJob(t, job)
			if err == nil || len(c.names()) > 0 {
				t.Errorf("error %v, stored %q", err, c.names())
			}
			noCanary(t, b, err, nil)
		})
	}
}

// TestSecretsStaySecret: none is in the log, in an error, or in a manifest, whatever happens to the job.
func TestSecretsStaySecret(t *testing.T) {
	c := newCloud(t)
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer down.Close()
	source := `"audio": "` + c.URL + `/voice.wav?s=` + signature + `"`
	c.objects["/voice.wav"] = string(wav(t, 1))
	for name, input := range map[string]string{
		"done":            `{"prompt": "` + accessSecret + `", ` + source + `, "output": {"upload_url": "` + c.URL + `/put?s=` + signature + `"}}`,
		"upload refused":  `{"prompt": "` + accessSecret + `", ` + source + `, "output": {"upload_url": "` + down.URL + `/put?s=` + signature + `"}}`,
		"source refused":  `{"prompt": "` + accessSecret + `", "audio": "` + down.URL + `/a.wav?s=` + signature + `"}`,
		"source is none":  `{"prompt": "` + accessSecret + `", "audio": "` + c.URL + `/absent.wav?s=` + signature + `"}`,
		"other problems":  `{"prompt": "` + accessSecret + `", ` + source + `, "width": 7, "output": {"upload_url": "ftp://` + signature + `"}}`,
		"everything done": `{"prompt": "` + accessSecret + `", ` + source + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBenchWith(t, Config{Fetch: home})
			result, err := b.handleJob(t, Job{ID: "j", S3: c.s3Config(""), Input: json.RawMessage(input)})
			if done := strings.HasSuffix(name, "done"); done != (err == nil) {
				t.Errorf("error %v", err)
			}
			noCanary(t, b, err, result)
			for _, path := range c.names() {
				if strings.HasSuffix(path, "manifest.json") {
					search(t, "the manifest", c.objects[path])
				}
			}
		})
	}
}

// noCanary looks for secrets in what a job leaves.
func noCanary(t *testing.T, b *bench, err error, result *Result) {
	t.Helper()
	search(t, "the log", b.log.String())
	if err != nil {
		failure, _ := json.Marshal(FailureOf(err))
		search(t, "the answer", string(failure))
	}
	for ; err != nil; err = errors.Unwrap(err) {
		search(t, "the error", fmt.Sprintf("%v %+v %#v", err, err, err))
	}
	if result != nil {
		search(t, "the result's address", withoutQuery(result.VideoURL))
	}
	manifests, _ := filepath.Glob(filepath.Join(b.out, "*", "manifest.json"))
	for _, path := range manifests {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		search(t, "the manifest", string(data))
	}
}

func search(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range []string{accessID, accessSecret, signature} {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds %s:\n%s", where, secret, text)
		}
	}
}
