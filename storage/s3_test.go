package storage_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
	"github.com/humo-worker/humo-worker/storage/storagetest"
)

func TestS3(t *testing.T) {
	server := storagetest.StartS3(t)
	proxy := storagetest.StartProxy(t, server.Endpoint)
	small, large := sized(t, 60<<20), sized(t, 80<<20) // in one request, in parts; what is cut off is more than sockets buffer
	storagetest.Run(t, func(t *testing.T) storagetest.Subject {
		server.NewBucket(t)
		proxy.Inject(nil)
		store := openS3(t, server.Config())
		behind := openS3(t, server.At(proxy.URL).Config())
		cutOff := func(file string) func(*testing.T, string) error {
			return func(t *testing.T, key string) error {
				proxy.Inject(storagetest.Cut(3 << 20))
				_, err := behind.Put(t.Context(), key, file, "video/mp4")
				if fault.CodeOf(err) != storage.CodeFailed || !retryable(err) {
					t.Errorf("error %v, want %s, retryable", err, storage.CodeFailed)
				}
				if n := len(proxy.Requests()); n < 6 {
					t.Errorf("%d requests, want at least 6: the first and 5 more", n)
				}
				return err
			}
		}
		cancelled := func(file string, fault func(cancel func()) storagetest.Fault) func(*testing.T, string) error {
			return func(t *testing.T, key string) error {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				proxy.Inject(fault(cancel))
				_, err := behind.Put(ctx, key, file, "video/mp4")
				if !errors.Is(err, context.Canceled) {
					t.Errorf("error %v, want context.Canceled", err)
				}
				return err
			}
		}
		return storagetest.Subject{
			Store:   store,
			Visible: func(t *testing.T) []string { return server.Objects(t) },
			Residue: func(t *testing.T) []string { return server.Uploads(t) },
			Interrupts: map[string]func(*testing.T, string) error{
				"CutOff": cutOff(small), "CutOffParts": cutOff(large),
				"Cancelled": cancelled(small, inTheMiddle), "CancelledParts": cancelled(large, inTheMiddle),
				"CancelledBeforeParts": cancelled(large, beforeParts(t)),
			},
			Backdated: func(age time.Duration) storage.Store { return storage.Backdated(store, age) },
		}
	})
}

func inTheMiddle(cancel func()) storagetest.Fault { return storagetest.Watch(3<<20, cancel) }

// beforeParts cancels when the server is about to begin an upload of parts, and lets it begin.
func beforeParts(t *testing.T) func(cancel func()) storagetest.Fault {
	stays, stop := context.WithCancel(context.WithoutCancel(t.Context())) // when the client goes
	t.Cleanup(stop)
	return func(cancel func()) storagetest.Fault {
		return func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && r.URL.Query().Has("uploads") {
				cancel()
				time.Sleep(20 * time.Millisecond) // a client that does not wait for the answer is gone now
				*r = *r.WithContext(stays)
			}
			return false
		}
	}
}

// TestCheck60_SlowDown: an overloaded server's answers are waited out, whichever request they hit.
func TestCheck60_SlowDown(t *testing.T) {
	server := storagetest.StartS3(t)
	proxy := storagetest.StartProxy(t, server.Endpoint)
	store := openS3(t, server.At(proxy.URL).Config())
	for _, size := range []int64{1 << 20, 70 << 20} {
		proxy.Inject(storagetest.SlowDown(3))
		object, err := store.Put(t.Context(), "job/video.mp4", sized(t, size), "video/mp4")
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.Get(object.URL)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close() //nolint:errcheck // its length is known
		if answer.StatusCode != http.StatusOK || answer.ContentLength != size {
			t.Errorf("status %d and %d bytes, want 200 and %d", answer.StatusCode, answer.ContentLength, size)
		}
	}
	proxy.Inject(storagetest.SlowDown(3))
	if _, err := store.Get(t.Context(), "absent"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get: error %v, want ErrNotFound", err)
	}
	proxy.Inject(storagetest.SlowDown(1000))
	_, err := store.Put(t.Context(), "job/video.mp4", sized(t, 10), "video/mp4")
	if fault.CodeOf(err) != storage.CodeFailed || !retryable(err) || !strings.Contains(err.Error(), "503 Service Unavailable, SlowDown") {
		t.Errorf("error %v, want %s, retryable, that says SlowDown", err, storage.CodeFailed)
	}
}

// TestS3Requests: a whole file is one PUT whose body is signed, a large one is parts, and nothing asks for checksums
// that only AWS knows.
func TestS3Requests(t *testing.T) {
	server := storagetest.StartS3(t)
	proxy := storagetest.StartProxy(t, server.Endpoint)
	config := server.At(proxy.URL).Config()
	config.Prefix = "/vidéos of us/"
	store := openS3(t, config)
	var mu sync.Mutex
	var bodies, strange []string
	watch := func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut {
			bodies = append(bodies, r.Header.Get("X-Amz-Content-Sha256"))
		}
		for name := range r.Header {
			if l := strings.ToLower(name); strings.Contains(l, "checksum") || strings.Contains(l, "trailer") || l == "content-md5" || l == "content-encoding" {
				strange = append(strange, name)
			}
		}
		return false
	}
	for size, want := range map[int64]int{1000: 1, 65 << 20: 5} {
		bodies = nil
		proxy.Inject(watch)
		if _, err := store.Put(t.Context(), "job/video.mp4", sized(t, size), "video/mp4"); err != nil {
			t.Fatal(err)
		}
		if len(bodies) != want || slices.ContainsFunc(bodies, func(s string) bool { return len(s) != 64 }) {
			t.Errorf("%d bytes: PUTs with the hashes %q, want %d", size, bodies, want)
		}
	}
	if len(strange) > 0 {
		t.Errorf("headers %q", strange)
	}
	if got := server.Objects(t); !slices.Equal(got, []string{"vidéos of us/job/video.mp4"}) {
		t.Errorf("objects %q, want the one under the prefix", got)
	}
}

// TestS3SignedBody: over https, too, the signature covers what is sent.
func TestS3SignedBody(t *testing.T) {
	var hashes []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			hashes = append(hashes, r.Header.Get("X-Amz-Content-Sha256"))
		}
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Length", "0")
	}))
	t.Cleanup(server.Close)
	store := openS3(t, storage.S3Config{Endpoint: server.URL, Bucket: "b-1", AccessKeyID: "id", SecretAccessKey: "secret", Client: server.Client()})
	if _, err := store.Put(t.Context(), "job/video.mp4", write(t, ""), "video/mp4"); err != nil {
		t.Fatal(err)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if !slices.Equal(hashes, []string{empty}) {
		t.Errorf("hashes %q, want the SHA-256 of nothing", hashes)
	}
}

// TestCheck57_VirtualHost: the bucket in the host name, as RunPod's documentation has it. The client takes every address for
// the server's.
func TestCheck57_VirtualHost(t *testing.T) {
	const region = "eu-west-1"
	server := storagetest.StartS3(t, "--region", region, "--virtual-domain", "s3."+region+".amazonaws.com")
	address := strings.TrimPrefix(server.Endpoint, "http://")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	config := server.Config()
	config.Endpoint, config.Bucket, config.Region, config.Client = "http://"+server.Bucket+".s3."+region+".amazonaws.com", "", "", client
	object, err := openS3(t, config).Put(t.Context(), "job/video.mp4", sized(t, 1000), "video/mp4")
	if err != nil {
		t.Fatal(err)
	}
	if want := config.Endpoint + "/job/video.mp4?"; !strings.HasPrefix(object.URL, want) {
		t.Errorf("URL %q, want %s…", object.URL, want)
	}
	answer, err := client.Get(object.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // only the head counts
	if answer.StatusCode != http.StatusOK || answer.ContentLength != 1000 {
		t.Errorf("status %d and %d bytes, want 200 and 1000", answer.StatusCode, answer.ContentLength)
	}
}

func TestS3Errors(t *testing.T) {
	server := storagetest.StartS3(t)
	secret := "CANARY/wrong+secret/" + server.SecretAccessKey
	closed := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // nobody connects
		return "http://" + l.Addr().String()
	}()
	for name, test := range map[string]struct {
		change    func(*storage.S3Config)
		code      string
		field     string
		retryable bool
	}{
		"no bucket":    {func(c *storage.S3Config) { c.Bucket = "absent-bucket" }, storage.CodeBucketNotFound, "BUCKET_NAME", false},
		"wrong secret": {func(c *storage.S3Config) { c.SecretAccessKey = storage.Secret(secret) }, storage.CodeDenied, "BUCKET_ACCESS_KEY_ID", false},
		"wrong key": {func(c *storage.S3Config) { c.AccessKeyID, c.SecretAccessKey = "CANARYKEYID", storage.Secret(secret) },
			storage.CodeDenied, "BUCKET_ACCESS_KEY_ID", false},
		"wrong region": {func(c *storage.S3Config) { c.Region = "mars-1" }, storage.CodeBucketElsewhere, "BUCKET_REGION", false},
		"no server":    {func(c *storage.S3Config) { c.Endpoint = closed }, storage.CodeFailed, "BUCKET_ENDPOINT_URL", true},
		"job's":        {func(c *storage.S3Config) { c.Bucket, c.FromJob = "absent-bucket", true }, storage.CodeBucketNotFound, "s3Config.bucketName", false},
		"refused address": {func(c *storage.S3Config) { c.Client = &http.Client{Transport: new(refusing)} },
			"address_refused", "BUCKET_ENDPOINT_URL", false},
	} {
		t.Run(name, func(t *testing.T) {
			config := server.Config()
			test.change(&config)
			store := openS3(t, config)
			_, put := store.Put(t.Context(), "job/video.mp4", sized(t, 1000), "video/mp4")
			_, parts := store.Put(t.Context(), "job/video.mp4", sized(t, 65<<20), "video/mp4")
			_, get := store.Get(t.Context(), "job/manifest.json")
			for what, err := range map[string]error{"Put": put, "Put of parts": parts, "Get": get} {
				f, ok := errors.AsType[*fault.Error](err)
				if !ok || f.Code != test.code || f.Field != test.field || f.Retryable != test.retryable {
					t.Errorf("%s: error %v (%#v), want code %s, field %s, retryable %v", what, err, f, test.code, test.field, test.retryable)
				}
				if errors.Is(err, storage.ErrNotFound) {
					t.Errorf("%s: error %v is ErrNotFound", what, err)
				}
				for _, canary := range []string{"CANARY", server.SecretAccessKey, server.AccessKeyID} {
					if strings.Contains(err.Error(), canary) {
						t.Errorf("%s: error %v holds the secret %s", what, err, canary)
					}
				}
			}
		})
	}
}

// TestS3MayNotList: credentials that may not list are denied what does not exist; a result is looked for all the same.
func TestS3MayNotList(t *testing.T) {
	server := storagetest.StartS3(t)
	proxy := storagetest.StartProxy(t, server.Endpoint)
	proxy.Inject(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		if r.Method == http.MethodGet {
			w.Write([]byte("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")) //nolint:errcheck // the client may be gone
		}
		return true
	})
	store := openS3(t, server.At(proxy.URL).Config())
	_, err := store.Get(t.Context(), "job/manifest.json")
	if fault.CodeOf(err) != storage.CodeDenied || !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get: error %v, want %s that is ErrNotFound", err, storage.CodeDenied)
	}
	if _, err := store.Put(t.Context(), "job/video.mp4", sized(t, 10), "video/mp4"); err != nil {
		t.Errorf("Put: %v", err)
	}
	if _, err := store.Sign(t.Context(), "job/video.mp4"); err != nil {
		t.Errorf("Sign: %v", err)
	}
}

// TestS3LyingServer: what was taken and is not there, or not whole, is an error; so is an answer without end.
func TestS3LyingServer(t *testing.T) {
	server := storagetest.StartS3(t)
	proxy := storagetest.StartProxy(t, server.Endpoint)
	store := openS3(t, server.At(proxy.URL).Config())
	for name, fault := range map[string]storagetest.Fault{
		"lost": func(_ http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodPut },
		"short": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "9")
			return r.Method == http.MethodHead
		},
	} {
		proxy.Inject(fault)
		if _, err := store.Put(t.Context(), name+"/video.mp4", sized(t, 10), "video/mp4"); !retryable(err) {
			t.Errorf("%s: error %v, want one that is retryable", name, err)
		}
	}
	proxy.Inject(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		for data := make([]byte, 1<<20); r.Context().Err() == nil; {
			w.Write(data) //nolint:errcheck // until the client goes
		}
		return true
	})
	if _, err := store.Get(t.Context(), "job/manifest.json"); err == nil {
		t.Error("Get of an answer without end succeeded")
	}
}

// TestS3RefusedOnce: an address that may not be connected to is not tried again.
func TestS3RefusedOnce(t *testing.T) {
	client := new(refusing)
	store := openS3(t, storage.S3Config{Endpoint: "https://10.0.0.1", Bucket: "b-1", AccessKeyID: "id", SecretAccessKey: "secret", FromJob: true,
		Client: &http.Client{Transport: client}})
	_, err := store.Put(t.Context(), "job/video.mp4", sized(t, 10), "video/mp4")
	if fault.CodeOf(err) != "address_refused" || client.asked != 1 || !strings.Contains(err.Error(), "s3Config.endpointUrl: ") {
		t.Errorf("error %v after %d attempts, want address_refused after 1", err, client.asked)
	}
	err = storage.PutURL(t.Context(), "https://10.0.0.1/x", sized(t, 10), "video/mp4", &http.Client{Transport: client})
	if fault.CodeOf(err) != "address_refused" || client.asked != 2 || !strings.Contains(err.Error(), "output.upload_url: ") {
		t.Errorf("error %v after %d attempts, want address_refused after 1", err, client.asked-1)
	}
}

// refusing is a client that will not connect.
type refusing struct{ asked int }

func (r *refusing) RoundTrip(*http.Request) (*http.Response, error) {
	r.asked++
	return nil, fault.New("address_refused", "", "the address may not be connected to")
}

func openS3(t *testing.T, config storage.S3Config) *storage.S3 {
	t.Helper()
	store, err := storage.OpenS3(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() }) //nolint:errcheck // connections
	return store
}

// sized is a file of zeros, which takes no place on the disk.
func sized(t *testing.T, size int64) string {
	t.Helper()
	path := t.TempDir() + "/sized"
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}

func retryable(err error) bool {
	f, ok := errors.AsType[*fault.Error](err)
	return ok && f.Retryable
}
