package handler

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

// readBucket reads the bucket that a job brings, which comes beside its input.
func (d *draft) readBucket(raw json.RawMessage, config Config) {
	if len(raw) == 0 || isNull(raw) {
		return
	}
	if config.OwnBucketOnly {
		d.complain(CodeDestination, "s3Config", "this endpoint writes to its own bucket only; leave s3Config out")
		return
	}
	if _, ok := d.object("s3Config", raw, bucketFields); !ok {
		return
	}
	bucket, err := storage.JobS3(raw, nil)
	if err == nil {
		err = bucket.Validate()
	}
	if err != nil {
		d.problems = append(d.problems, ProblemsOf(err)...)
		return
	}
	d.bucket = &bucket
}

// destination is where the result of a job goes.
type destination struct {
	store  storage.Store // of the manifest, and of the video unless it is uploaded; nil: there is none
	upload string        // the address that the video is put to; empty: the store
	client *http.Client  // for upload
	close  func()
}

// destination settles it before anything is fetched or made: a job whose result nobody could reach is not worth
// beginning. A job's own bucket and its own address may be anywhere, so both are reached through the client that
// refuses private addresses.
func (h *Handler) destination(r *Request) (*destination, error) {
	d := &destination{store: h.store, upload: r.Output.UploadURL, client: h.client.HTTP(), close: func() {}}
	if d.upload != "" && h.config.OwnBucketOnly {
		return nil, fault.New(CodeDestination, "output.upload_url", "this endpoint writes to its own bucket only; leave output.upload_url out")
	}
	if r.bucket != nil {
		config := *r.bucket
		config.Client = d.client
		s3, err := storage.OpenS3(config)
		if err != nil {
			return nil, err
		}
		d.store, d.close = s3, func() { s3.Close() } //nolint:errcheck // only idle connections are closed
	} else if h.unreachable() {
		d.store = nil
	}
	if d.store == nil {
		if d.upload == "" && !r.DryRun { // an estimate goes nowhere
			_, err := storage.None{}.Get(context.Background(), "") // in the words of the room that knows the settings
			return nil, err
		}
		return d, nil
	}
	if r.Output.ExpiresIn == 0 {
		return d, nil
	}
	store, err := storage.WithExpiry(d.store, r.Output.ExpiresIn)
	if err != nil {
		d.close()
		return nil, err
	}
	d.store = store
	return d, nil
}

// unreachable reports whether the endpoint has no store that the caller of a job can reach.
func (h *Handler) unreachable() bool {
	switch h.store.(type) {
	case nil, storage.None:
		return true
	case *storage.Local:
		return h.config.RequireBucket
	}
	return false
}

// putVideo stores the video. An uploaded one has no key, and what is known of its address is not signed for reading.
func (d *destination) putVideo(ctx context.Context, key, file string) (storage.Object, error) {
	if d.upload == "" {
		return d.store.Put(ctx, key, file, "video/mp4")
	}
	if err := storage.PutURL(ctx, d.upload, file, "video/mp4", d.client); err != nil {
		return storage.Object{}, err
	}
	return storage.Object{URL: withoutQuery(d.upload)}, nil
}

// signVideo gives the link to a video that is there.
func (d *destination) signVideo(ctx context.Context, key string) (storage.Object, error) {
	if d.upload == "" {
		return d.store.Sign(ctx, key)
	}
	return storage.Object{URL: withoutQuery(d.upload)}, nil
}
