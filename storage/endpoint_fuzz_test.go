package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

const canary = "CANARY-7f3a"

// FuzzEndpoint takes any address and bucket apart: a short fault about one of the two settings, or a place without user and
// query that, written as settings again, is the same place.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range [][2]string{
		{"https://s3.eu-west-1.amazonaws.com", "clips"}, {"https://clips.s3.dualstack.eu-west-1.amazonaws.com", ""}, {"clips.fra1.digitaloceanspaces.com", "clips"},
		{"https://0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com/clips", ""}, {"http://minio:9000/a/b/", "b"}, {"http://[::1]:9000", "b.c"},
		{"https://me:" + canary + "@h/", "b"}, {"https://h?X-Amz-Signature=" + canary, "b"}, {"ftp://h", "b"}, {"https://", ""}, {"http://s3-.amazonaws.com", "b"}, {"https://b.H/%2F", "B"},
		{"https://s3api-eu.runpod.io", "b"}, {"http://h:99999", "b"}, {"http://b.:1", "b"},
	} {
		f.Add(seed[0], seed[1], "")
	}
	f.Add("http://minio:9000", "clips", "false")
	f.Add("http://clips.minio:9000", "clips", "1")
	f.Fuzz(func(t *testing.T, endpoint, bucket, style string) {
		c := S3Config{Endpoint: endpoint, Bucket: bucket, PathStyle: style, AccessKeyID: "id", SecretAccessKey: canary}
		invalid := c.Validate()
		if invalid != nil {
			if len(invalid.Error()) > 2000 || strings.Contains(invalid.Error(), canary) && !strings.Contains(bucket+style, canary) && !strings.Contains(hostOf(endpoint), strings.ToLower(canary)) && !strings.Contains(pathOf(endpoint), canary) {
				t.Fatalf("%q, %q: %v", endpoint, bucket, invalid)
			}
			return
		}
		p, problem := c.place()
		if problem != nil {
			t.Fatalf("%q is valid and has no place: %v", endpoint, problem)
		}
		u, err := url.Parse(p.base)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !bucketPattern.MatchString(p.bucket) {
			t.Fatalf("%q, %q: the place is %+v", endpoint, bucket, p)
		}
		again, problem := S3Config{Endpoint: p.base, Bucket: p.bucket, Region: p.region, PathStyle: fmt.Sprint(p.pathStyle)}.place()
		if problem != nil || again != p {
			t.Fatalf("%q, %q is %+v, and that is %+v, %v", endpoint, bucket, p, again, problem)
		}
	})
}

func hostOf(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil {
		return strings.ToLower(u.Host)
	}
	return ""
}

func pathOf(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil {
		return u.Path
	}
	return ""
}

// FuzzJobS3 reads any JSON as a job's s3Config: no fault holds what stands where a secret belongs.
func FuzzJobS3(f *testing.F) {
	for _, seed := range []string{
		`{"accessId": "a", "accessSecret": "` + canary + `", "bucketName": "clips", "endpointUrl": "http://minio:9000"}`, `{"accessSecret": ["` + canary + `"]}`,
		`{"accessSecret": {"` + canary + `": 1}, "region": "EU"}`, `{"ACCESSSECRET": "` + canary + `"}`, `{"accessId": 12, "accessSecret": "` + canary + `"}`, `["` + canary + `"]`, `"` + canary, `{"objectPath": "../x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := JobS3(raw, nil)
		if err != nil {
			if fault.CodeOf(err) != "wrong_type" || strings.Contains(err.Error(), canary) || json.Valid(raw) && len(raw) > 0 && raw[0] == '"' && !strings.Contains(err.Error(), "s3Config") {
				t.Fatalf("%s: %v", raw, err)
			}
			return
		}
		if !c.FromJob {
			t.Fatalf("%s is not known to come from a job", raw)
		}
		for _, secret := range []Secret{c.AccessKeyID, c.SecretAccessKey} {
			if len(secret) < 8 || strings.Contains(c.Endpoint+c.Bucket+c.Region+c.Prefix, string(secret)) {
				continue
			}
			shown := fmt.Sprintf("%v %+v %#v %v", c, c, c, c.Validate())
			if written, err := json.Marshal(c); err != nil || strings.Contains(shown+string(written), string(secret)) && !strings.Contains(masks, string(secret)) {
				t.Fatalf("%s shows as %s %s, %v", raw, shown, written, err)
			}
		}
		for _, e := range faultsIn(c.Validate()) {
			if e.Code != CodeInvalidSetting || !strings.HasPrefix(e.Field, "s3Config.") && !strings.HasPrefix(e.Field, "BUCKET_") {
				t.Fatalf("%s: %v", raw, e)
			}
		}
	})
}

// masks is what stands in a printed config anyway.
var masks = func() string {
	c := S3Config{FromJob: true}
	written, _ := json.Marshal(c)
	return fmt.Sprintf("%v %+v %#v %v", c, c, c, c.Validate()) + string(written)
}()

func faultsIn(err error) (all []*fault.Error) {
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range list.Unwrap() {
			all = append(all, faultsIn(e)...)
		}
	} else if f, ok := errors.AsType[*fault.Error](err); ok {
		all = append(all, f)
	}
	return all
}

// broken answers every request with an error that quotes the address, as a proxy might.
type broken struct{}

func (broken) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusForbidden, Body: io.NopCloser(strings.NewReader("<Code>AccessDenied</Code>" + r.URL.String())), Request: r, Header: http.Header{}}, nil
}

// FuzzPutAddress uploads to any address that a job may bring, with a client that reaches nobody: a short fault with a code, of
// the address the host alone.
func FuzzPutAddress(f *testing.F) {
	for _, seed := range []string{"https://h/a?X-Amz-Signature=" + canary, "https://me:" + canary + "@h/", "http://h:x/" + canary, "https://h/%zz" + canary, "://", "https://h/" + canary, "file:///" + canary, "https://[::1%25" + canary + "]/"} {
		f.Add(seed)
	}
	file := filepath.Join(f.TempDir(), "video.mp4")
	if err := os.WriteFile(file, []byte("video"), 0o600); err != nil {
		f.Fatal(err)
	}
	client := &http.Client{Transport: broken{}}
	f.Fuzz(func(t *testing.T, address string) {
		err := PutURL(t.Context(), address, file, "video/mp4", client)
		code := fault.CodeOf(err)
		if code != CodeInvalidURL && code != CodeUploadRefused {
			t.Fatalf("%q: %v", address, err)
		}
		if strings.Contains(err.Error(), canary) && !strings.Contains(hostOf(address), strings.ToLower(canary)) {
			t.Fatalf("%q: %v", address, err)
		}
	})
}

var plainSegment = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// FuzzSegment makes a part of a key of any two names: it is one valid part, and two names share it only if they are equal.
func FuzzSegment(f *testing.F) {
	f.Add("job-1", "job-2")
	f.Add("../a", "..\\a")
	f.Add(strings.Repeat("ä", 300), "")
	f.Add(".", "-.")
	f.Fuzz(func(t *testing.T, a, b string) {
		one, other := Segment(a), Segment(b)
		for _, s := range []string{one, other} {
			if !plainSegment.MatchString(s) || !ValidKey(s+"/video.mp4") || len(s) > maxSegment {
				t.Fatalf("%q, %q: the segment %q", a, b, s)
			}
		}
		if (one == other) != (a == b) {
			t.Fatalf("%q and %q are %q and %q", a, b, one, other)
		}
		if key := a + "/" + b; ValidKey(key) {
			if clean := filepath.ToSlash(filepath.Clean(filepath.FromSlash(key))); clean != key || !filepath.IsLocal(filepath.FromSlash(key)) {
				t.Fatalf("the key %q leads to %q", key, clean)
			}
		}
	})
}
