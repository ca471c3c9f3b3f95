package storage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
	"github.com/humo-worker/humo-worker/storage/storagetest"
)

// TestPutURL puts to a real server's presigned address, over a bad network.
func TestPutURL(t *testing.T) {
	server := storagetest.StartS3(t)
	proxy := storagetest.StartProxy(t, server.Endpoint)
	store := openS3(t, server.Config())
	behind := server.At(proxy.URL)
	want := bytes.Repeat([]byte("frames "), 1<<20)
	for name, test := range map[string]struct {
		fault    storagetest.Fault
		requests int
	}{"good": {nil, 1}, "slowdown": {storagetest.SlowDown(3), 4}, "cut": {cutFirst(2), 3}} {
		proxy.Inject(test.fault)
		if err := storage.PutURL(t.Context(), behind.PresignPut(t, name+"/a b ü.mp4"), write(t, string(want)), "video/mp4", nil); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := len(proxy.Requests()); got != test.requests {
			t.Errorf("%s: %d requests, want %d", name, got, test.requests)
		}
		object, err := store.Sign(t.Context(), name+"/a b ü.mp4")
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.Get(object.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close() //nolint:errcheck // read to its end
		if err != nil || !bytes.Equal(got, want) || answer.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("%s: %d bytes of %s, error %v; want the %d that were put", name, len(got), answer.Header.Get("Content-Type"), err, len(want))
		}
	}
	if err := storage.PutURL(t.Context(), server.PresignPut(t, "empty"), write(t, ""), "video/mp4", nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}

	var digests []string
	proxy.Inject(func(_ http.ResponseWriter, r *http.Request) bool {
		digests = append(digests, r.Header.Get("Content-MD5"))
		return false
	})
	for _, address := range []string{behind.PresignPut(t, "digest"), proxy.URL + "/unsigned"} {
		storage.PutURL(t.Context(), address, write(t, "hello"), "video/mp4", nil) //nolint:errcheck // the second is refused
	}
	if want := []string{"XUFAKrxLKna5cZ2REBfFkg==", ""}; !slices.Equal(digests, want) {
		t.Errorf("Content-MD5 %q, want %q: only where the kind of signature is known to bear it", digests, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	proxy.Inject(storagetest.Watch(1<<20, cancel))
	if err := storage.PutURL(ctx, behind.PresignPut(t, "cancelled.mp4"), sized(t, 100<<20), "video/mp4", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v, want context.Canceled", err)
	}
	if _, err := store.Get(t.Context(), "cancelled.mp4"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the cancelled upload shows: error %v, want ErrNotFound", err)
	}
}

// cutFirst cuts the first connections, after which the network is good.
func cutFirst(times int) storagetest.Fault {
	cut := storagetest.Cut(1 << 20)
	return func(w http.ResponseWriter, r *http.Request) bool {
		if times--; times >= 0 {
			return cut(w, r)
		}
		return false
	}
}

func TestPutURLErrors(t *testing.T) {
	server := storagetest.StartS3(t)
	tampered := strings.Replace(server.PresignPut(t, "CANARY/x.mp4"), "X-Amz-Signature=", "X-Amz-Signature=0", 1)
	var status int
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/CANARY")
		w.WriteHeader(status)
		io.WriteString(w, r.URL.String()) //nolint:errcheck // the client may be gone
	}))
	t.Cleanup(plain.Close)
	refusingClient := &http.Client{Transport: new(refusing)}
	for _, test := range []struct {
		name, address string
		status        int
		client        *http.Client
		code          string
		retryable     bool
	}{
		{"tampered", tampered, 0, nil, storage.CodeUploadRefused, false},
		{"gone", plain.URL + "/CANARY?sig=CANARY", http.StatusGone, nil, storage.CodeUploadRefused, false},
		{"redirect", plain.URL + "/CANARY?sig=CANARY", http.StatusTemporaryRedirect, nil, storage.CodeUploadRefused, false},
		{"down", plain.URL + "/CANARY?sig=CANARY", http.StatusBadGateway, nil, storage.CodeUploadFailed, true},
		{"nobody", "http://127.0.0.1:1/CANARY?sig=CANARY", 0, nil, storage.CodeUploadFailed, true},
		{"refused address", "http://127.0.0.1/CANARY?sig=CANARY", 0, refusingClient, "address_refused", false},
		{"no address", "CANARY", 0, nil, storage.CodeInvalidURL, false},
		{"file", "file:///CANARY", 0, nil, storage.CodeInvalidURL, false},
		{"userinfo", "https://CANARY:CANARY@example.com/", 0, nil, storage.CodeInvalidURL, false},
		{"unreadable", "https://exa mple.com/CANARY", 0, nil, storage.CodeInvalidURL, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			status = test.status
			err := storage.PutURL(t.Context(), test.address, sized(t, 1000), "video/mp4", test.client)
			if fault.CodeOf(err) != test.code || retryable(err) != test.retryable {
				t.Errorf("error %v, want code %s, retryable %v", err, test.code, test.retryable)
			}
			if err != nil && (strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "X-Amz")) {
				t.Errorf("error %v holds a part of the address", err)
			}
		})
	}
	if err := storage.PutURL(t.Context(), plain.URL, t.TempDir()+"/absent", "video/mp4", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: error %v", err)
	}
}
