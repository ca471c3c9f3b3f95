//go:build long

package faults_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/humo-worker/humo-worker/storage/storagetest"
)

// These take the time of all attempts.
func init() {
	const failed = "storage_failed BUCKET_ENDPOINT_URL (retryable)"
	bucketRows = append(bucketRows,
		bucketRow{"503 on", status(always, http.StatusServiceUnavailable, "SlowDown"), failed, true},
		bucketRow{"500 on", status(always, http.StatusInternalServerError, "InternalError"), failed, true},
		bucketRow{"cut in every upload", storagetest.Cut(500), failed, false},
	)
}

// TestBucketAddress is an address at which nothing listens.
func TestBucketAddress(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, listener.Close())
	w := newWorld(t, "BUCKET_ENDPOINT_URL=http://"+listener.Addr().String())
	w.start()
	w.expect("broken", "", "storage_failed BUCKET_ENDPOINT_URL (retryable)")
	w.end()
}

// TestUploadName is an upload to a name that has no address.
func TestUploadName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.expect("broken", `"output": {"upload_url": "https://uploads.invalid/video.mp4?X-Amz-Signature=CANARY-QUERY"}`, "upload_failed output.upload_url (retryable)")
	w.secret = append(w.secret, "CANARY-QUERY")
	w.works("mended")
	w.end()
}
