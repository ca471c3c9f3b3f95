package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/humo-worker/humo-worker/inference/media"
)

// check compares a posted result with what must have come of the job, its files included. It returns the keys of what the
// job left in the bucket. probe: the video is decoded, too.
func (w *world) check(ctx context.Context, j *job, body string, probe bool) (keys []string, err error) {
	var a answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return nil, fmt.Errorf("the result is %.200q: %w", body, err)
	}
	out := a.Output
	switch {
	case j.want.code != "":
		if a.Error == "" || out.Error.Code != j.want.code {
			return nil, fmt.Errorf("the error is %q (%.300s), want %q", out.Error.Code, a.Error, j.want.code)
		}
		return nil, nil
	case a.Error != "":
		return nil, fmt.Errorf("it failed: %s (%s)", a.Error, out.Error.Code)
	case out.DryRun != j.want.dryRun:
		return nil, fmt.Errorf("dry_run is %v, want %v", out.DryRun, j.want.dryRun)
	case out.result != j.want.result:
		return nil, fmt.Errorf("the result is %+v, want %+v", out.result, j.want.result)
	case j.want.dryRun:
		if out.Estimate == nil || out.Estimate.Passes < 1 || out.VideoURL != "" {
			return nil, fmt.Errorf("the estimate is %s", body)
		}
		return nil, nil
	}
	keys = []string{out.Key, j.id + "/manifest.json"}
	if j.upload != "" {
		keys[0] = j.upload
	}
	manifest, err := w.fetch(ctx, out.ManifestURL)
	if err != nil || !json.Valid(manifest) {
		return keys, fmt.Errorf("the manifest is %.100q, %w", manifest, err)
	}
	video, err := w.video(ctx, j, out.VideoURL)
	if err != nil {
		return keys, fmt.Errorf("the video: %w", err)
	}
	if len(video) < 8 || !bytes.Equal(video[4:8], []byte("ftyp")) {
		return keys, fmt.Errorf("the video is no mp4: %.50q", video)
	}
	if probe {
		err = w.probe(ctx, video, j.want.result)
	}
	return keys, err
}

// video fetches a result by its link, or, where the job said where to put it, from there.
func (w *world) video(ctx context.Context, j *job, url string) ([]byte, error) {
	if j.upload == "" {
		return w.fetch(ctx, url)
	}
	object, err := w.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.bucket.Bucket, Key: &j.upload})
	if err != nil {
		return nil, err
	}
	defer object.Body.Close() //nolint:errcheck // only read from
	return io.ReadAll(object.Body)
}

func (w *world) fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the bucket answers %s", response.Status)
	}
	return data, err
}

// probe decodes a video.
func (w *world) probe(ctx context.Context, video []byte, want result) error {
	path := filepath.Join(w.inputs.root, "probed.mp4")
	if err := os.WriteFile(path, video, 0o600); err != nil {
		return err
	}
	info, err := media.Probe(ctx, path)
	if err != nil {
		return err
	}
	if v := info.Video; v == nil || info.Audio == nil || v.Frames != want.Frames || v.Width != want.Width || v.Height != want.Height {
		return fmt.Errorf("the video has %+v, want %+v", v, want)
	}
	return nil
}
