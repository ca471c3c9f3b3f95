package storage

import (
	"cmp"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// place is where a bucket is.
type place struct {
	base      string // the service's address without the bucket
	bucket    string
	region    string
	pathStyle bool
}

// place takes the endpoint's address apart. The problem names the setting to correct.
func (c S3Config) place() (place, *fault.Error) {
	bad := func(variable, format string, args ...any) (place, *fault.Error) {
		return place{}, fault.New(CodeInvalidSetting, c.name(variable), format, args...)
	}
	raw := strings.TrimSpace(c.Endpoint)
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw) // whose error quotes the address, which may hold a password
	if err != nil || !hasLabels(u.Hostname()) || u.Scheme != "https" && u.Scheme != "http" {
		return bad("BUCKET_ENDPOINT_URL", "is no address; set it to one such as https://s3.eu-west-1.amazonaws.com")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return bad("BUCKET_ENDPOINT_URL", "holds more than an address; leave out what comes before '@' or after '?' or '#'")
	}
	u.Host = strings.ToLower(u.Host)
	host := u.Hostname()
	if strings.HasPrefix(host, "s3api-") && strings.HasSuffix(host, ".runpod.io") {
		return bad("BUCKET_ENDPOINT_URL", "is the S3 interface of RunPod's network volumes, which has no presigned URLs, so nobody could "+
			"download the result; use a bucket of another service, such as AWS S3, Cloudflare R2 or MinIO")
	}

	forced, _ := c.pathStyle() // Validate reports the error
	region, inHost := readHost(host)
	bucket := c.Bucket
	if inHost == "" && bucket != "" && strings.HasPrefix(host, strings.ToLower(bucket)+".") && net.ParseIP(host) == nil &&
		(forced == nil || !*forced) {
		inHost = bucket // of a service that readHost does not know
	}
	if inHost != "" && bucket != "" && !strings.EqualFold(inHost, bucket) {
		return bad("BUCKET_NAME", "is %.80q, but BUCKET_ENDPOINT_URL is an address of the bucket %.80q; correct one of them", bucket, inHost)
	}
	if inHost != "" {
		bucket = inHost
		u.Host = u.Host[len(inHost)+1:]
	} else {
		bucket = bucketInPath(u, bucket)
	}
	if bucket == "" {
		return bad("BUCKET_NAME", "is missing, and BUCKET_ENDPOINT_URL does not begin with a bucket; set it to the name of the bucket")
	}
	p := place{
		base:      strings.TrimRight(u.String(), "/"),
		bucket:    bucket,
		region:    cmp.Or(c.Region, region, "us-east-1"),
		pathStyle: inHost == "",
	}
	if forced != nil {
		p.pathStyle = *forced
	}
	return p, nil
}

// hasLabels reports whether no part of a host's name is empty; a dot at its end is the root's.
func hasLabels(host string) bool {
	return !slices.Contains(strings.Split(strings.TrimSuffix(host, "."), "."), "")
}

// bucketInPath takes the bucket off the path's end, where Cloudflare's dashboard shows it. Without a given name, a path
// of one part is the bucket; every other path belongs to the service.
func bucketInPath(u *url.URL, given string) string {
	path := strings.Trim(u.Path, "/")
	before, last := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		before, last = path[:i], path[i+1:]
	}
	if last != "" && (last == given || given == "" && before == "") {
		u.Path, u.RawPath = before, ""
		return last
	}
	return given
}

// s3Labels are the services whose hosts are [BUCKET.]s3[.|-REGION].DOMAIN.
var s3Labels = []string{".amazonaws.com", ".amazonaws.com.cn", ".backblazeb2.com", ".wasabisys.com", ".scw.cloud", ".io.cloud.ovh.net"}

// regionLabels are the services whose hosts are [BUCKET.]REGION.DOMAIN.
var regionLabels = []string{".digitaloceanspaces.com", ".linodeobjects.com"}

var accountPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// readHost tells the region and the bucket from the host names of the services that it knows; each may be empty.
func readHost(host string) (region, bucket string) {
	for _, domain := range s3Labels {
		if rest, ok := strings.CutSuffix(host, domain); ok {
			return readS3Labels(strings.Split(rest, "."))
		}
	}
	for _, domain := range regionLabels {
		if rest, ok := strings.CutSuffix(host, domain); ok {
			i := strings.LastIndexByte(rest, '.')
			return rest[i+1:], rest[:max(i, 0)]
		}
	}
	if rest, ok := strings.CutSuffix(host, ".r2.cloudflarestorage.com"); ok {
		// [BUCKET.]ACCOUNT[.JURISDICTION]
		if first, _, more := strings.Cut(rest, "."); more && !accountPattern.MatchString(first) {
			bucket = first
		}
		return "auto", bucket
	}
	return "", ""
}

// readS3Labels finds the last label that is s3 or s3-REGION: a bucket's name may hold dots, and s3 itself.
func readS3Labels(labels []string) (region, bucket string) {
	for i, label := range slices.Backward(labels) {
		if label != "s3" && !strings.HasPrefix(label, "s3-") {
			continue
		}
		after := labels[i+1:]
		if len(after) > 0 && after[0] == "dualstack" {
			after = after[1:]
		}
		switch {
		case len(after) > 0:
			region = after[0]
		case label != "s3" && label != "s3-accelerate":
			region = strings.TrimPrefix(label, "s3-")
		}
		if slices.Contains(after, "vpce") { // the address of an interface of a private network
			return region, ""
		}
		return region, strings.Join(labels[:i], ".")
	}
	return "", ""
}
