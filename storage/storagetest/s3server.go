package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/humo-worker/humo-worker/storage"
)

// S3Server is a real S3 server on a loopback port, with one empty bucket. It checks signatures, and its addresses are
// those of path style.
type S3Server struct {
	Endpoint        string
	AccessKeyID     string
	SecretAccessKey string
	Region          string
	Bucket          string

	client *s3.Client
}

// StartS3 starts versitygw, at the version pinned in tools.mod, and ends it with the test. The first start on a
// machine builds it, which takes a minute. args are more global options of it.
func StartS3(t testing.TB, args ...string) *S3Server {
	t.Helper()
	binary, err := gateway()
	if err != nil {
		t.Fatal(err)
	}
	s := &S3Server{AccessKeyID: "AK" + rand.Text()[:16], SecretAccessKey: rand.Text(), Region: "us-east-1"}
	for i, arg := range args {
		if arg == "--region" {
			s.Region = args[i+1]
		}
	}
	for range 5 { // another process may take the port in between
		if err = s.start(t, binary, args); err == nil {
			s.NewBucket(t)
			return s
		}
	}
	t.Fatalf("versitygw does not start: %v", err)
	return nil
}

// gateway builds the server, or finds it in the build cache.
var gateway = sync.OnceValues(func() (string, error) {
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	tools := filepath.Join(filepath.Dir(strings.TrimSpace(string(module))), "tools.mod")
	var problem bytes.Buffer
	cmd := exec.Command("go", "tool", "-modfile="+tools, "-n", "versitygw")
	cmd.Stderr = &problem
	path, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("versitygw cannot be built: %w\n%s", err, problem.Bytes())
	}
	return strings.TrimSpace(string(path)), nil
})

func (s *S3Server) start(t testing.TB, binary string, args []string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	dir := t.TempDir()
	for _, name := range []string{"data", "meta"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	args = append([]string{"--port", address, "--region", s.Region, "--quiet"}, args...)
	// With the sidecar it does not matter whether the file system has extended attributes.
	args = append(args, "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
	var output bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKeyID, "ROOT_SECRET_KEY="+s.SecretAccessKey)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait() //nolint:errcheck // it is ended by a signal
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill() //nolint:errcheck // it may have ended
			<-ended
		}
	})
	s.Endpoint = "http://" + address
	s.connect()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-ended:
			return fmt.Errorf("it ended: %s", output.Bytes())
		default:
		}
		if answer, err := http.Get(s.Endpoint); err == nil {
			answer.Body.Close() //nolint:errcheck // only the answer counts
			if _, err := s.client.ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
				return fmt.Errorf("what answers does not know its keys: %w", err)
			}
			return nil
		}
	}
	return errors.New("it does not answer")
}

// freeAddress is a loopback address at which nothing listens. Until the server does, nothing else will: the port is not one of
// those that a system gives to whoever asks for any, as tests' servers do, several at a time.
func freeAddress() (string, error) {
	const first, beyond = 20000, 32000 // Linux gives those from 32768 on, others from 49152 on
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+mathrand.IntN(beyond-first)))
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (s *S3Server) connect() {
	s.client = s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, UsePathStyle: true, Region: s.Region,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey}, nil
		}),
	})
}

// At is the server at another address, such as that of a Proxy.
func (s *S3Server) At(endpoint string) *S3Server {
	c := *s
	c.Endpoint = endpoint
	c.connect()
	return &c
}

// NewBucket makes another empty bucket, which is Bucket from then on.
func (s *S3Server) NewBucket(t testing.TB) {
	t.Helper()
	s.Bucket = "bucket-" + strings.ToLower(rand.Text()[:12])
	if _, err := s.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &s.Bucket}); err != nil {
		t.Fatal(err)
	}
}

// Config is the config of a store in Bucket.
func (s *S3Server) Config() storage.S3Config {
	return storage.S3Config{
		Endpoint: s.Endpoint, Bucket: s.Bucket, Region: s.Region,
		AccessKeyID: storage.Secret(s.AccessKeyID), SecretAccessKey: storage.Secret(s.SecretAccessKey),
	}
}

// Environ is the same as environment variables.
func (s *S3Server) Environ() []string {
	return []string{
		"BUCKET_ENDPOINT_URL=" + s.Endpoint, "BUCKET_NAME=" + s.Bucket, "BUCKET_REGION=" + s.Region,
		"BUCKET_ACCESS_KEY_ID=" + s.AccessKeyID, "BUCKET_SECRET_ACCESS_KEY=" + s.SecretAccessKey,
	}
}

// Objects lists the keys in Bucket.
func (s *S3Server) Objects(t testing.TB) []string {
	t.Helper()
	list, err := s.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &s.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, object := range list.Contents {
		keys = append(keys, *object.Key)
	}
	return keys
}

// Uploads lists the keys of the multipart uploads in Bucket that are neither complete nor aborted.
func (s *S3Server) Uploads(t testing.TB) []string {
	t.Helper()
	list, err := s.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &s.Bucket})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, upload := range list.Uploads {
		keys = append(keys, *upload.Key)
	}
	return keys
}

// PresignPut gives an address that a PUT may be sent to.
func (s *S3Server) PresignPut(t testing.TB, key string) string {
	t.Helper()
	request, err := s3.NewPresignClient(s.client).PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: &s.Bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return request.URL
}
