package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

const (
	wholeSize  = 64 << 20 // the largest file that one request uploads
	minPart    = 16 << 20 // of a larger one; services ask for 5 MiB at least
	maxParts   = 10_000
	partsAtOne = 4 // parts under way at the same time

	// abortTime is how long a cancelled upload may take to clean up after itself.
	abortTime = 10 * time.Second
)

// putParts uploads f in parts. The object appears when all are there; on any error they are removed.
func (s *S3) putParts(ctx context.Context, key string, f io.ReaderAt, size int64, contentType string) (etag string, err error) {
	// A cancellation must not cut the answer off: it is the name of what is to be removed.
	createCtx, done := outliving(ctx, abortTime)
	defer done()
	created, err := s.client.CreateMultipartUpload(createCtx, &s3.CreateMultipartUploadInput{
		Bucket: &s.bucket, Key: s.name(key), ContentType: &contentType,
	})
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.abort(ctx, key, created.UploadId))
		}
	}()

	partSize := partSizeOf(size)
	parts := make([]types.CompletedPart, (size+partSize-1)/partSize)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOne)
	for i := range parts {
		group.Go(func() error {
			if err := groupCtx.Err(); err != nil {
				return context.Cause(groupCtx)
			}
			number, offset := int32(i+1), int64(i)*partSize
			length := min(partSize, size-offset)
			part, err := s.client.UploadPart(groupCtx, &s3.UploadPartInput{
				Bucket: &s.bucket, Key: s.name(key), UploadId: created.UploadId, PartNumber: &number,
				Body: io.NewSectionReader(f, offset, length), ContentLength: &length,
			}, signedBody)
			if err != nil {
				return err
			}
			parts[i] = types.CompletedPart{ETag: part.ETag, PartNumber: &number}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	complete, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: s.name(key), UploadId: created.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(complete.ETag), nil
}

// partSizeOf is a whole number of MiB.
func partSizeOf(size int64) int64 {
	const mib = 1 << 20
	perPart := (size + maxParts - 1) / maxParts
	return max(minPart, (perPart+mib-1)/mib*mib)
}

// abort removes the parts that were sent, also when ctx has ended. No part is under way any more.
func (s *S3) abort(ctx context.Context, key string, id *string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: s.name(key), UploadId: id})
	if err != nil {
		return fmt.Errorf("parts of it stay in the bucket until a lifecycle rule removes them: %w", err)
	}
	return nil
}

// outliving ends a while after ctx does.
func outliving(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}
