// Package storage puts finished files where the caller of a job can reach them, and gives out the links to them.
//
// It knows keys, files and content types; of jobs only the names under which they bring a bucket or an address of
// their own, so that an error can name what to correct. Nothing it returns or logs holds a secret, but for the
// signature in an Object's URL, which is the caller's.
package storage

import (
	"context"
	"errors"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// Object is a stored file.
type Object struct {
	Key       string // as it was given: without the prefix of a bucket
	URL       string
	ExpiresAt time.Time // when the URL ends; zero: never
}

// Store keeps files under keys. An implementation passes storagetest.Run and may be used by several goroutines.
//
// Keys are slash-separated paths as ValidKey defines them; no key is the folder of another. Errors are fault.Errors,
// or the context's cause when the context ended. What may go better the next time is marked as retryable.
type Store interface {
	// Put stores the local file under key and returns once the object is durable. It is
	//   - atomic: the key shows the whole file or what it showed before, whatever happens to the process, the
	//     connection or the context in between, and what was sent of an unfinished file is removed;
	//   - replacing: the object that was there is gone, and links to it now lead to the new one;
	//   - idempotent: the same Put again leaves the same object. After an error the key may show either one.
	// Short failures are retried inside. contentType is what a GET of the URL answers with; a local store tells it
	// from the key's extension.
	Put(ctx context.Context, key, file, contentType string) (Object, error)

	// Get reads a small object, such as a manifest, of at most MaxGet bytes. The error is ErrNotFound, for errors.Is,
	// when there is none.
	Get(ctx context.Context, key string) ([]byte, error)

	// Download writes an object of any size to a new local file. The error is ErrNotFound when there is none; after an
	// error the file may hold a part of it.
	Download(ctx context.Context, key, file string) error

	// Delete removes an object. One that is not there is no error.
	Delete(ctx context.Context, key string) error

	// Sign gives a fresh URL of a stored object. The error is ErrNotFound when there is none.
	Sign(ctx context.Context, key string) (Object, error)
}

// MaxGet bounds what Get reads.
const MaxGet = 4 << 20

// ErrNotFound is in the chain of the errors of Get, Download and Sign when there is no such object.
var ErrNotFound = errors.New("no such object")

// The codes of this package's errors.
const (
	CodeInvalidKey      = "invalid_key"
	CodeNotFound        = "object_not_found"
	CodeTooLarge        = "object_too_large" // larger than MaxGet
	CodeInvalidSetting  = "invalid_setting"
	CodeNoBucket        = "no_bucket"        // no destination is configured
	CodeBucketNotFound  = "bucket_not_found" // the server knows no such bucket
	CodeBucketElsewhere = "bucket_elsewhere" // wrong region or endpoint for the bucket
	CodeDenied          = "storage_denied"   // credentials or permissions
	CodeClock           = "storage_clock"    // the service says that our clock is wrong
	CodeFailed          = "storage_failed"   // everything else
	CodeInvalidURL      = "invalid_upload_url"
	CodeUploadRefused   = "upload_refused" // a presigned PUT was answered, with a refusal
	CodeUploadFailed    = "upload_failed"  // a presigned PUT did not get through
)

// How long a URL may be good for: S3 refuses more than a week, and under a minute no caller gets to use it. Results
// are good for a week unless settings or the job say otherwise, as those of RunPod's own SDK are.
const (
	MinExpiry     = time.Minute
	MaxExpiry     = 7 * 24 * time.Hour
	DefaultExpiry = MaxExpiry
)

// WithExpiry is the same store with another lifetime of URLs, the one that a job asks for. Stores whose URLs do not
// expire stay as they are.
func WithExpiry(store Store, lifetime time.Duration) (Store, error) {
	if lifetime < MinExpiry || lifetime > MaxExpiry {
		return nil, fault.New("out_of_range", "output.expires_in", "must be from %.0f to %.0f seconds (1 minute to 7 days)",
			MinExpiry.Seconds(), MaxExpiry.Seconds())
	}
	if s, ok := store.(interface {
		withExpiry(time.Duration) Store
	}); ok {
		return s.withExpiry(lifetime), nil
	}
	return store, nil
}

// lifetime is the lifetime that a setting in seconds means; 0 is the default.
func lifetime(seconds int) (time.Duration, bool) {
	if seconds == 0 {
		return DefaultExpiry, true
	}
	d := time.Duration(seconds) * time.Second
	return d, d >= MinExpiry && seconds <= int(MaxExpiry.Seconds())
}

func notFound(key string) error {
	return fault.New(CodeNotFound, "key", "there is no object %q in the store", key).Because(ErrNotFound)
}

func tooLarge(key string) error {
	return fault.New(CodeTooLarge, "key", "the object %q has more than %d bytes; fetch it through its URL", key, MaxGet)
}

// None is the Store of a worker that must not keep results on its own disk and has no bucket: whatever is asked of
// it fails with the names of the settings that are missing.
type None struct{}

func (None) Put(context.Context, string, string, string) (Object, error) {
	return Object{}, errNoBucket
}
func (None) Get(context.Context, string) ([]byte, error)  { return nil, errNoBucket }
func (None) Sign(context.Context, string) (Object, error) { return Object{}, errNoBucket }

func (None) Download(context.Context, string, string) error { return errNoBucket }
func (None) Delete(context.Context, string) error           { return errNoBucket }

var errNoBucket = fault.New(CodeNoBucket, "BUCKET_ENDPOINT_URL",
	"there is no bucket for the result: set BUCKET_ENDPOINT_URL, BUCKET_NAME, BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY on the endpoint, "+
		"or give the job an s3Config or an output.upload_url")
