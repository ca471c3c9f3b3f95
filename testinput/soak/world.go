package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/storage/storagetest"
)

// world is what surrounds the worker: RunPod's queue, a bucket, files, the demo weights.
type world struct {
	t      testing.TB
	queue  *runpodtest.Server
	bucket *storagetest.S3Server
	s3     *s3.Client
	client *http.Client
	inputs *inputs
	dir    string // everything that the worker may write lies below it
	env    []string
}

// build builds it. library is ONNX Runtime's; empty: the one that is found.
func build(t testing.TB, o options) *world {
	t.Helper()
	w := &world{t: t, queue: runpodtest.Start(t), bucket: storagetest.StartS3(t), dir: t.TempDir(), client: &http.Client{}}
	t.Cleanup(w.client.CloseIdleConnections)
	w.queue.Hold = stopHold
	w.s3 = s3.New(s3.Options{
		BaseEndpoint: &w.bucket.Endpoint, UsePathStyle: true, Region: w.bucket.Region,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: w.bucket.AccessKeyID, SecretAccessKey: w.bucket.SecretAccessKey}, nil
		}),
	})
	w.inputs = makeInputs(t, o.voice)
	root := t.TempDir()
	if err := weights.WriteDemo(root); err != nil {
		t.Fatal(err)
	}
	writeLoRAs(t, root)
	library := o.library
	if library == "" {
		library = ort.DefaultLibrary()
	}
	in := func(name string) string { return filepath.Join(w.dir, name) }
	w.env = append(append([]string{
		"PATH=" + o.path, "HOME=" + in("home"), "TMPDIR=" + in("tmp"), "HUMO_TMP=" + in("scratch"), "HUMO_CACHE=" + in("cache"), "HUMO_CACHE_MB=4",
		"HUMO_OUTPUT=" + in("output"), "WORKER_STATE_DIR=" + in("state"), "ONNXRUNTIME_LIB=" + library, "HUMO_WEIGHTS=" + root,
		"HUMO_INPUT_ROOT=" + w.inputs.root, "HUMO_FETCH_TRUSTED=127.0.0.0/8", "HUMO_FETCH_PATIENCE=2s", "RUNPOD_LOG_LEVEL=DEBUG",
		"HUMO_NO_SPIN=true", // the cores are shared by two jobs at a time, the queue, the bucket and whoever tests
		"WORKER_PROGRESS_MIN_INTERVAL=200ms",
		"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true", // the machine may be smaller than a worker's
	}, w.queue.Env()...), w.bucket.Environ()...)
	if o.slopes {
		w.remember(records)
	}
	return w
}

// records is how many ended jobs a worker remembers at the most. One that begins with so many forgets one for each that it does.
const records = 10_000

// remember makes the worker begin as one that has just been restarted after so many jobs.
func (w *world) remember(jobs int) {
	dir := filepath.Join(w.dir, "state", fileName(runpodtest.Worker))
	err := os.MkdirAll(dir, 0o700)
	for i := 0; i < jobs && err == nil; i++ {
		id := fmt.Sprintf("before-%05d", i)
		record := input{"id": id, "state": "delivered", "at": time.Now(), "body": input{"output": strings.Repeat("usual size ", 140)}}
		err = os.WriteFile(filepath.Join(dir, fileName(id)+".json"), []byte(record.text()), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// fileName is the worker's for anything with a name.
func fileName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

// longRun is from how many jobs on the prompt cache in memory is filled to its bound. In shorter runs it would never be full, and
// look like a leak.
const longRun = 500

// mixer draws the run's jobs.
func (w *world) mixer(o options) *mixer {
	return &mixer{
		r: rand.New(rand.NewPCG(o.seed, 0)), inputs: w.inputs, long: o.jobs >= longRun,
		presign: func(key string) string { return w.bucket.PresignPut(w.t, key) },
		s3: input{"accessId": w.bucket.AccessKeyID, "accessSecret": w.bucket.SecretAccessKey, "bucketName": w.bucket.Bucket,
			"endpointUrl": w.bucket.Endpoint, "region": w.bucket.Region},
	}
}

// objects lists the bucket.
func (w *world) objects(ctx context.Context) (keys []string, err error) {
	pages := s3.NewListObjectsV2Paginator(w.s3, &s3.ListObjectsV2Input{Bucket: &w.bucket.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys, nil
}

// remove deletes objects, as the owner of a bucket does whose rules say so.
func (w *world) remove(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	var list []types.ObjectIdentifier
	for _, key := range keys {
		list = append(list, types.ObjectIdentifier{Key: aws.String(key)})
	}
	_, err := w.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &w.bucket.Bucket, Delete: &types.Delete{Objects: list}})
	return err
}
