package storage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// S3 is a Store in a bucket of an S3-compatible service; its URLs are presigned GETs.
type S3 struct {
	config S3Config
	bucket string
	expiry time.Duration
	client *s3.Client
	http   *http.Client
	now    func() time.Time
	clock  *serverClock
}

// OpenS3 opens the bucket of a valid config. It makes no request: whether the credentials are good shows at the first
// use.
func OpenS3(cfg S3Config) (*S3, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	place, problem := cfg.place()
	if problem != nil {
		return nil, problem
	}
	expiry, _ := lifetime(cfg.Expiry)
	client := patientClient(cfg.Client)
	clock := &serverClock{next: client.Transport}
	client.Transport = clock
	return &S3{config: cfg, bucket: place.bucket, expiry: expiry, http: client, now: time.Now, clock: clock, client: s3.New(s3.Options{
		BaseEndpoint: aws.String(place.base),
		UsePathStyle: place.pathStyle,
		Region:       place.region,
		// Given outright: the SDK's own search would ask the metadata service of the machine's network.
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: string(cfg.AccessKeyID), SecretAccessKey: string(cfg.SecretAccessKey)}, nil
		}),
		HTTPClient: client,
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) { return pause(attempt), nil })
			// The quota is for fleets. Here a bad hour would use it up and leave later jobs with one attempt.
			o.RateLimiter = ratelimit.None
			o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(final)}, o.Retryables...)
			o.Retryables = append(o.Retryables, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{
				http.StatusRequestTimeout: {}, http.StatusTooManyRequests: {},
			}})
		}),
		// CRC32 trailers, the SDK's default, are refused or ignored by many services that are not AWS. What is sent is
		// protected by its SHA-256 in the signature (signedBody), which all of them check.
		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenRequired,
		DisableLogOutputChecksumValidationSkipped: true,
	})}, nil
}

// final is false, for "do not retry", where somebody said already what is wrong: an address that may not be
// connected to stays so.
func final(err error) aws.Ternary {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return aws.BoolTernary(f.Retryable)
	}
	return aws.UnknownTernary
}

// signedBody signs the body's SHA-256 over https too, where the SDK would leave it out.
func signedBody(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		payload := &v4.ComputePayloadSHA256{}
		_, err := stack.Finalize.Swap(payload.ID(), payload)
		return err
	})
}

// Close closes the connections that wait for another request. Objects stay.
func (s *S3) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

func (s *S3) withExpiry(lifetime time.Duration) Store {
	c := *s
	c.expiry = lifetime
	return &c
}

// name is the name of the object in the bucket.
func (s *S3) name(key string) *string {
	if prefix := s.config.prefix(); prefix != "" {
		key = prefix + "/" + key
	}
	return &key
}

// Put uploads file: in one request up to wholeSize, else in parts, which are removed when the upload breaks off. Then it
// asks for the object's size.
func (s *S3) Put(ctx context.Context, key, file, contentType string) (Object, error) {
	if !ValidKey(key) || len(*s.name(key)) > maxKey {
		return Object{}, badKey(key)
	}
	f, size, err := openSource(file)
	if err != nil {
		return Object{}, err
	}
	defer f.Close() //nolint:errcheck // only read from
	etag, err := s.upload(ctx, key, f, size, contentType)
	if err == nil {
		err = s.verify(ctx, key, size, etag)
	}
	if err != nil {
		return Object{}, s.explain(ctx, key, err)
	}
	return s.sign(ctx, key)
}

// upload returns the server's name of what it has got.
func (s *S3) upload(ctx context.Context, key string, f *os.File, size int64, contentType string) (etag string, err error) {
	if size > wholeSize {
		return s.putParts(ctx, key, f, size, contentType)
	}
	out, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: s.name(key), Body: f, ContentLength: &size, ContentType: &contentType,
	}, signedBody)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

// verify checks that the object has arrived whole. Credentials that may only write answer 403, which says nothing;
// and another ETag is that of somebody who has put the key since.
func (s *S3) verify(ctx context.Context, key string, size int64, etag string) error {
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	switch {
	case statusOf(err) == http.StatusForbidden:
		return nil
	case statusOf(err) == http.StatusNotFound:
		return fault.New(CodeFailed, "key", "the bucket took the object %q and does not have it", key).Again()
	case err != nil:
		return err
	case head.ETag != nil && *head.ETag != etag:
		return nil
	case head.ContentLength != nil && *head.ContentLength != size:
		return fault.New(CodeFailed, "key", "the bucket has %d bytes of the %d of the object %q", *head.ContentLength, size, key).Again()
	}
	return nil
}

// Get reads an object. Credentials that may not list a bucket are denied objects that do not exist, so that a denial
// is also ErrNotFound, whereas wrong credentials are not.
func (s *S3) Get(ctx context.Context, key string) ([]byte, error) {
	if !ValidKey(key) {
		return nil, badKey(key)
	}
	data, err := s.get(ctx, key)
	if err != nil {
		return nil, s.explain(ctx, key, err)
	}
	if len(data) > MaxGet {
		return nil, tooLarge(key)
	}
	return data, nil
}

func (s *S3) get(ctx context.Context, key string) ([]byte, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close() //nolint:errcheck // only read from
	return io.ReadAll(io.LimitReader(out.Body, MaxGet+1))
}

// Download reads an object of any size into a new file.
func (s *S3) Download(ctx context.Context, key, file string) error {
	if !ValidKey(key) {
		return badKey(key)
	}
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if err == nil {
		defer out.Body.Close() //nolint:errcheck // only read from
		err = save(file, out.Body)
	}
	if err != nil {
		return s.explain(ctx, key, err)
	}
	return nil
}

// Delete removes an object.
func (s *S3) Delete(ctx context.Context, key string) error {
	if !ValidKey(key) {
		return badKey(key)
	}
	if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.name(key)}); err != nil {
		return s.explain(ctx, key, err)
	}
	return nil
}

// Sign presigns a GET of an object. That there is one is checked where the credentials allow it.
func (s *S3) Sign(ctx context.Context, key string) (Object, error) {
	if !ValidKey(key) {
		return Object{}, badKey(key)
	}
	_, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if err != nil && statusOf(err) != http.StatusForbidden {
		return Object{}, s.explain(ctx, key, err)
	}
	return s.sign(ctx, key)
}

func (s *S3) sign(ctx context.Context, key string) (Object, error) {
	at := s.clock.of(s.now()).UTC().Truncate(time.Second)
	signed, err := s3.NewPresignClient(s.client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.name(key)},
		s3.WithPresignExpires(s.expiry), func(o *s3.PresignOptions) { o.Presigner = presignerAt{o.Presigner, at} })
	if err != nil {
		return Object{}, s.explain(ctx, key, err)
	}
	return Object{Key: key, URL: signed.URL, ExpiresAt: at.Add(s.expiry)}, nil
}

// presignerAt signs as of a given time, so that what is said about the expiry is exact.
type presignerAt struct {
	s3.HTTPPresignerV4
	at time.Time
}

func (p presignerAt) PresignHTTP(ctx context.Context, credentials aws.Credentials, r *http.Request, hash, service, region string,
	_ time.Time, options ...func(*v4.SignerOptions)) (string, http.Header, error) {
	return p.HTTPPresignerV4.PresignHTTP(ctx, credentials, r, hash, service, region, p.at, options...)
}

// openSource opens a file that is to be stored.
func openSource(file string) (*os.File, int64, error) {
	unreadable := fault.New(CodeFailed, "", "The finished file cannot be read to store it.")
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, unreadable.Because(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, 0, unreadable.Because(errors.Join(err, f.Close()))
	}
	return f, info.Size(), nil
}
