package storage

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCheck57_Endpoints is the addresses that people set, from the pages of each service.
func TestCheck57_Endpoints(t *testing.T) {
	const account = "0123456789abcdef0123456789abcdef"
	for _, test := range []struct {
		name   string
		config S3Config
		want   place
	}{
		{"RunPod's documentation", S3Config{Endpoint: "https://my-bucket.s3.eu-west-1.amazonaws.com"},
			place{"https://s3.eu-west-1.amazonaws.com", "my-bucket", "eu-west-1", false}},
		{"and the name too", S3Config{Endpoint: "https://my-bucket.s3.eu-west-1.amazonaws.com/", Bucket: "my-bucket"},
			place{"https://s3.eu-west-1.amazonaws.com", "my-bucket", "eu-west-1", false}},
		{"AWS", S3Config{Endpoint: "https://s3.us-west-2.amazonaws.com", Bucket: "b-1"}, place{"https://s3.us-west-2.amazonaws.com", "b-1", "us-west-2", true}},
		{"AWS, dash", S3Config{Endpoint: "https://b-1.s3-us-west-2.amazonaws.com"}, place{"https://s3-us-west-2.amazonaws.com", "b-1", "us-west-2", false}},
		{"AWS, global", S3Config{Endpoint: "https://b-1.s3.amazonaws.com"}, place{"https://s3.amazonaws.com", "b-1", "us-east-1", false}},
		{"AWS, dualstack", S3Config{Endpoint: "https://b-1.s3.dualstack.eu-north-1.amazonaws.com"},
			place{"https://s3.dualstack.eu-north-1.amazonaws.com", "b-1", "eu-north-1", false}},
		{"AWS, China", S3Config{Endpoint: "https://s3.cn-north-1.amazonaws.com.cn", Bucket: "b-1"}, place{"https://s3.cn-north-1.amazonaws.com.cn", "b-1", "cn-north-1", true}},
		{"AWS, dots", S3Config{Endpoint: "https://my.s3.bucket.s3.eu-west-1.amazonaws.com"}, place{"https://s3.eu-west-1.amazonaws.com", "my.s3.bucket", "eu-west-1", false}},
		{"AWS, private", S3Config{Endpoint: "https://bucket.vpce-1a2b-3c.s3.us-east-2.vpce.amazonaws.com", Bucket: "b-1"},
			place{"https://bucket.vpce-1a2b-3c.s3.us-east-2.vpce.amazonaws.com", "b-1", "us-east-2", true}},
		{"region wins", S3Config{Endpoint: "https://b-1.s3.amazonaws.com", Region: "eu-west-3"}, place{"https://s3.amazonaws.com", "b-1", "eu-west-3", false}},
		{"R2", S3Config{Endpoint: "https://" + account + ".r2.cloudflarestorage.com", Bucket: "b-1"}, place{"https://" + account + ".r2.cloudflarestorage.com", "b-1", "auto", true}},
		{"R2, as its dashboard shows it", S3Config{Endpoint: "https://" + account + ".r2.cloudflarestorage.com/b-1"},
			place{"https://" + account + ".r2.cloudflarestorage.com", "b-1", "auto", true}},
		{"and the name too", S3Config{Endpoint: "https://" + account + ".r2.cloudflarestorage.com/b-1/", Bucket: "b-1"},
			place{"https://" + account + ".r2.cloudflarestorage.com", "b-1", "auto", true}},
		{"R2, Europe", S3Config{Endpoint: "https://" + account + ".eu.r2.cloudflarestorage.com", Bucket: "b-1"},
			place{"https://" + account + ".eu.r2.cloudflarestorage.com", "b-1", "auto", true}},
		{"R2, bucket in the host", S3Config{Endpoint: "https://b-1." + account + ".r2.cloudflarestorage.com"},
			place{"https://" + account + ".r2.cloudflarestorage.com", "b-1", "auto", false}},
		{"Spaces", S3Config{Endpoint: "https://b-1.fra1.digitaloceanspaces.com"}, place{"https://fra1.digitaloceanspaces.com", "b-1", "fra1", false}},
		{"Spaces, path", S3Config{Endpoint: "https://fra1.digitaloceanspaces.com", Bucket: "b-1"}, place{"https://fra1.digitaloceanspaces.com", "b-1", "fra1", true}},
		{"Backblaze", S3Config{Endpoint: "s3.us-west-004.backblazeb2.com", Bucket: "b-1"}, place{"https://s3.us-west-004.backblazeb2.com", "b-1", "us-west-004", true}},
		{"Wasabi", S3Config{Endpoint: "https://s3.wasabisys.com", Bucket: "b-1"}, place{"https://s3.wasabisys.com", "b-1", "us-east-1", true}},
		{"MinIO", S3Config{Endpoint: "http://127.0.0.1:9000", Bucket: "127"}, place{"http://127.0.0.1:9000", "127", "us-east-1", true}},
		{"MinIO, IPv6", S3Config{Endpoint: "http://[::1]:9000/", Bucket: "b-1"}, place{"http://[::1]:9000", "b-1", "us-east-1", true}},
		{"behind a path", S3Config{Endpoint: " https://example.com/minio/s3/ ", Bucket: "b-1"}, place{"https://example.com/minio/s3", "b-1", "us-east-1", true}},
		{"behind a path, bucket last", S3Config{Endpoint: "https://example.com/minio/b-1", Bucket: "b-1"}, place{"https://example.com/minio", "b-1", "us-east-1", true}},
		{"unknown host with the bucket", S3Config{Endpoint: "https://Media.example.com:8443", Bucket: "media"}, place{"https://example.com:8443", "media", "us-east-1", false}},
		{"which is only called so", S3Config{Endpoint: "https://minio.example.com", Bucket: "minio", PathStyle: "true"},
			place{"https://minio.example.com", "minio", "us-east-1", true}},
		{"path style forced", S3Config{Endpoint: "https://b-1.s3.eu-west-1.amazonaws.com", PathStyle: "1"}, place{"https://s3.eu-west-1.amazonaws.com", "b-1", "eu-west-1", true}},
		{"virtual host forced", S3Config{Endpoint: "https://objects.example.com", Bucket: "b-1", PathStyle: "false"},
			place{"https://objects.example.com", "b-1", "us-east-1", false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, problem := test.config.place()
			if problem != nil {
				t.Fatal(problem)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(place{})); diff != "" {
				t.Errorf("%s %s: (-want +got)\n%s", test.config.Endpoint, test.config.Bucket, diff)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	good := S3Config{Endpoint: "https://s3.eu-west-1.amazonaws.com", AccessKeyID: "id", SecretAccessKey: "canary", Bucket: "b-1"}
	if err := good.Validate(); err != nil || !good.Enabled() {
		t.Fatalf("a good config: error %v, enabled %v", err, good.Enabled())
	}
	for _, test := range []struct {
		name   string
		change func(*S3Config)
		want   string // in the error: the setting, then what is wrong
	}{
		{"no endpoint", func(c *S3Config) { c.Endpoint = "" }, "BUCKET_ENDPOINT_URL: is missing"},
		{"no key", func(c *S3Config) { c.AccessKeyID = "" }, "BUCKET_ACCESS_KEY_ID: is missing"},
		{"no secret", func(c *S3Config) { c.SecretAccessKey = " " }, "BUCKET_SECRET_ACCESS_KEY: is missing"},
		{"no bucket", func(c *S3Config) { c.Bucket = "" }, "BUCKET_NAME: is missing"},
		{"all", func(c *S3Config) { *c = S3Config{Bucket: "b-1"} }, "BUCKET_SECRET_ACCESS_KEY: is missing"},
		{"two buckets", func(c *S3Config) { c.Endpoint = "https://other.s3.eu-west-1.amazonaws.com" }, "BUCKET_NAME: is \"b-1\", but"},
		{"bad bucket", func(c *S3Config) { c.Bucket = "../x" }, "BUCKET_NAME: \"../x\" is no name"},
		{"arn", func(c *S3Config) { c.Bucket = "arn:aws:s3:::b-1" }, "BUCKET_NAME: \"arn:"},
		{"bad address", func(c *S3Config) { c.Endpoint = "ftp://s3" }, "BUCKET_ENDPOINT_URL: is no address"},
		{"password", func(c *S3Config) { c.Endpoint = "https://u:canary@s3.example.com" }, "BUCKET_ENDPOINT_URL: holds more than an address"},
		{"unreadable", func(c *S3Config) { c.Endpoint = "https://u:canary@s3 .example.com" }, "BUCKET_ENDPOINT_URL: is no address"},
		{"query", func(c *S3Config) { c.Endpoint = "https://s3.example.com/?canary" }, "BUCKET_ENDPOINT_URL: holds more than an address"},
		{"volume", func(c *S3Config) { c.Endpoint = "https://s3api-EU-RO-1.runpod.io/" }, "BUCKET_ENDPOINT_URL: is the S3 interface of RunPod's network volumes"},
		{"region", func(c *S3Config) { c.Region = "eu west\r\n" }, "BUCKET_REGION: "},
		{"prefix", func(c *S3Config) { c.Prefix = "../up" }, "BUCKET_PREFIX: "},
		{"path style", func(c *S3Config) { c.PathStyle = "maybe" }, "BUCKET_FORCE_PATH_STYLE: is \"maybe\""},
		{"short", func(c *S3Config) { c.Expiry = 59 }, "BUCKET_PRESIGN_EXPIRY: is 59 seconds"},
		{"long", func(c *S3Config) { c.Expiry = 604801 }, "BUCKET_PRESIGN_EXPIRY: is 604801 seconds"},
		{"negative", func(c *S3Config) { c.Expiry = -1 }, "BUCKET_PRESIGN_EXPIRY: is -1 seconds"},
		{"huge", func(c *S3Config) { c.Expiry = 1 << 62 }, "BUCKET_PRESIGN_EXPIRY: "},
		{"job's", func(c *S3Config) { c.Bucket, c.FromJob = "", true }, "s3Config.bucketName: is missing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := good
			test.change(&c)
			err := c.Validate()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("error %v holds a secret", err)
			}
			if _, err := OpenS3(c); err == nil {
				t.Error("OpenS3 took it")
			}
			if !c.Enabled() {
				t.Error("not enabled: the mistake would go unnoticed")
			}
		})
	}
	if (S3Config{}).Enabled() {
		t.Error("an empty config is enabled")
	}
}
