package storage

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// S3Config says which bucket of which S3-compatible service results go to. The names of the variables are those of
// RunPod's SDK, and the ones that its community added.
type S3Config struct {
	// Endpoint is the service's address: https://s3.eu-west-1.amazonaws.com, https://ACCOUNT.r2.cloudflarestorage.com,
	// http://minio:9000. The bucket may be part of the host name, https://BUCKET.s3.eu-west-1.amazonaws.com, or be the
	// path. Without a scheme it is https.
	Endpoint string `env:"BUCKET_ENDPOINT_URL" json:"endpointUrl"`

	// AccessKeyID and SecretAccessKey are the credentials. They are never looked for anywhere else.
	AccessKeyID     Secret `env:"BUCKET_ACCESS_KEY_ID" json:"accessId"`
	SecretAccessKey Secret `env:"BUCKET_SECRET_ACCESS_KEY" json:"accessSecret"`

	// Bucket may be left out when Endpoint names it.
	Bucket string `env:"BUCKET_NAME" json:"bucketName"`

	// Region is told from the endpoint's host where possible; else it is us-east-1, which servers of one region take.
	Region string `env:"BUCKET_REGION" json:"region"`

	// Prefix is put before every key, with a slash between.
	Prefix string `env:"BUCKET_PREFIX" json:"objectPath"`

	// PathStyle true: ENDPOINT/BUCKET/KEY; false: BUCKET.ENDPOINT/KEY. Empty: false if Endpoint's host begins with the
	// bucket, else true.
	PathStyle string `env:"BUCKET_FORCE_PATH_STYLE" json:"-"`

	// Expiry is how long URLs are good for, in seconds, from 60 to 604800, which is also the default.
	Expiry int `env:"BUCKET_PRESIGN_EXPIRY" json:"-"`

	// Client does the requests; its redirects are not followed and its Timeout is not used. For an endpoint that came
	// with a job give one that checks the addresses it connects to. nil: one that goes anywhere.
	Client *http.Client `json:"-"`

	// FromJob: the config came with a job, so errors name the keys of its s3Config.
	FromJob bool `json:"-"`
}

// JobS3 reads the s3Config of a job, {"accessId", "accessSecret", "bucketName", "endpointUrl", "objectPath"?}, and a
// "region" beside them. It does not validate.
func JobS3(raw []byte, client *http.Client) (S3Config, error) {
	c := S3Config{Client: client, FromJob: true}
	if err := json.Unmarshal(raw, &c); err != nil { // whose text may quote a part of a secret
		return S3Config{}, fault.New("wrong_type", "s3Config",
			"must be an object of texts: accessId, accessSecret, bucketName, endpointUrl and, if wanted, objectPath and region")
	}
	return c, nil
}

// Enabled reports whether a bucket is meant. One variable is enough, so that a misspelt other one is an error and
// never a result on a disk that nobody sees.
func (c S3Config) Enabled() bool {
	return c.Endpoint != "" || c.AccessKeyID != "" || c.SecretAccessKey != "" || c.Bucket != ""
}

var (
	bucketPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)
	regionPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// Validate reports every setting that is missing or cannot work, by its name. It asks no server.
func (c S3Config) Validate() error {
	var problems []error
	add := func(variable, format string, args ...any) {
		problems = append(problems, fault.New(CodeInvalidSetting, c.name(variable), format, args...))
	}
	for _, needed := range []struct{ variable, value, what string }{
		{"BUCKET_ENDPOINT_URL", c.Endpoint, "the address of the S3 service, such as https://s3.eu-west-1.amazonaws.com"},
		{"BUCKET_ACCESS_KEY_ID", string(c.AccessKeyID), "the id of the access key"},
		{"BUCKET_SECRET_ACCESS_KEY", string(c.SecretAccessKey), "the secret of the access key"},
	} {
		if strings.TrimSpace(needed.value) == "" {
			add(needed.variable, "is missing; set it to %s", needed.what)
		}
	}
	if c.Endpoint != "" {
		if place, problem := c.place(); problem != nil {
			problems = append(problems, problem)
		} else if !bucketPattern.MatchString(place.bucket) || strings.Contains(place.bucket, "..") {
			add("BUCKET_NAME", "%.80q is no name of a bucket: 3 to 63 letters, digits, '.', '_' and '-'", place.bucket)
		}
	}
	if c.Region != "" && !regionPattern.MatchString(c.Region) {
		add("BUCKET_REGION", "%.80q is no name of a region; use one such as eu-west-1 or auto", c.Region)
	}
	if prefix := c.prefix(); prefix != "" && (!ValidKey(prefix) || len(prefix) > maxKey/2) {
		add("BUCKET_PREFIX", "%.80q cannot begin keys: use a relative path of visible characters of up to %d bytes", c.Prefix, maxKey/2)
	}
	if _, err := c.pathStyle(); err != nil {
		add("BUCKET_FORCE_PATH_STYLE", "is %.20q; set it to true or false, or unset it", c.PathStyle)
	}
	if _, ok := lifetime(c.Expiry); !ok {
		add("BUCKET_PRESIGN_EXPIRY", "is %d seconds; it must be from %.0f to %.0f (1 minute to 7 days)", c.Expiry, MinExpiry.Seconds(), MaxExpiry.Seconds())
	}
	return errors.Join(problems...)
}

// pathStyle is nil where nothing is forced.
func (c S3Config) pathStyle() (*bool, error) {
	if c.PathStyle == "" {
		return nil, nil
	}
	forced, err := strconv.ParseBool(c.PathStyle)
	return &forced, err
}

func (c S3Config) prefix() string { return strings.Trim(c.Prefix, "/") }

// name is what the caller calls the setting that the endpoint calls variable.
func (c S3Config) name(variable string) string {
	if !c.FromJob {
		return variable
	}
	switch variable {
	case "BUCKET_ENDPOINT_URL":
		return "s3Config.endpointUrl"
	case "BUCKET_ACCESS_KEY_ID":
		return "s3Config.accessId"
	case "BUCKET_SECRET_ACCESS_KEY":
		return "s3Config.accessSecret"
	case "BUCKET_NAME":
		return "s3Config.bucketName"
	case "BUCKET_REGION":
		return "s3Config.region"
	case "BUCKET_PREFIX":
		return "s3Config.objectPath"
	}
	return variable
}
