package faults_test

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/storage/storagetest"
)

// bucketRow is a fault of the bucket, and how a job ends meanwhile.
type bucketRow struct {
	name  string
	fault storagetest.Fault
	want  string
	early bool // before anything is rendered: the bucket is asked for an earlier result first
}

var bucketRows = []bucketRow{
	{"down for a moment", refuse(2), "ok", false},
	{"503 for a moment", storagetest.SlowDown(2), "ok", false},
	{"500 for a moment", status(1, http.StatusInternalServerError, "InternalError"), "ok", false},
	{"cut in the first upload", once(storagetest.Cut(500)), "ok", false},
	{"slow", wait(time.Second), "ok", false},
	{"the worker's clock is wrong", status(always, http.StatusForbidden, "RequestTimeTooSkewed"), "storage_clock (retryable)", true},
	{"access denied", status(always, http.StatusForbidden, "AccessDenied"), "storage_denied BUCKET_ACCESS_KEY_ID", false}, // a key may be allowed to write and not to read
	{"the bucket is gone", status(always, http.StatusNotFound, "NoSuchBucket"), "bucket_not_found BUCKET_NAME", true},
	{"down", refuse(always), "storage_failed BUCKET_ENDPOINT_URL (retryable)", true},
	{"connections break at the upload", uploads(refuse(always)), "storage_failed BUCKET_ENDPOINT_URL (retryable)", false},
}

// TestBucket breaks the bucket while a job is done, mends it, and wants the next job to succeed in the same worker.
func TestBucket(t *testing.T) {
	for _, row := range bucketRows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var uploads atomic.Int64
			w.network.Inject(func(answer http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut {
					uploads.Add(1)
				}
				return row.fault(answer, r)
			})
			w.start()
			w.expect("broken", "", row.want)
			if early := uploads.Load() == 0; early != row.early {
				t.Errorf("ended before there was a clip: %v", early)
			}
			w.network.Inject(nil)
			w.works("mended")
			w.end()
		})
	}
}

const always = 1 << 30

// status answers the first requests with an error of S3's.
func status(times int64, code int, name string) storagetest.Fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		if seen.Add(1) > times {
			return false
		}
		io.Copy(io.Discard, r.Body) //nolint:errcheck // it is not wanted
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(code)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>No.</Message></Error>", name) //nolint:errcheck // the worker may be gone
		}
		return true
	}
}

// refuse breaks the connections of the first requests.
func refuse(times int64) storagetest.Fault {
	var seen atomic.Int64
	return func(http.ResponseWriter, *http.Request) bool {
		if seen.Add(1) > times {
			return false
		}
		panic(http.ErrAbortHandler)
	}
}

// once does what fault does to the first upload only.
func once(fault storagetest.Fault) storagetest.Fault {
	var seen atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || seen.Swap(true) {
			return false
		}
		return fault(w, r)
	}
}

// uploads does what fault does to uploads only.
func uploads(fault storagetest.Fault) storagetest.Fault {
	return func(w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodPut && fault(w, r) }
}

// wait holds every request for a while.
func wait(d time.Duration) storagetest.Fault {
	return func(http.ResponseWriter, *http.Request) bool {
		time.Sleep(d)
		return false
	}
}
