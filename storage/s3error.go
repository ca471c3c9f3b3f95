package storage

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// explain turns what the SDK says into what the owner of the bucket can act on. The sentence holds nothing that the
// server wrote but its error code; the rest of it is in the cause, for the log.
func (s *S3) explain(ctx context.Context, key string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if f, ok := errors.AsType[*fault.Error](err); ok { // ours, or that of a client that checks addresses
		return about(f, s.config.name("BUCKET_ENDPOINT_URL"))
	}
	status, code, answer := statusOf(err), codeOf(err), answerOf(err)
	name := s.config.name
	cause := redact(err, string(s.config.AccessKeyID), string(s.config.SecretAccessKey))
	switch {
	case code == "NoSuchBucket":
		return fault.New(CodeBucketNotFound, name("BUCKET_NAME"), "the service has no bucket %q; correct the name or the endpoint", s.bucket).Because(cause)
	case code == "AuthorizationHeaderMalformed" || code == "PermanentRedirect" || code == "TemporaryRedirect" || status/100 == 3:
		return fault.New(CodeBucketElsewhere, name("BUCKET_REGION"),
			"the bucket %q is in another region than the request was for (%s); set the region, and the endpoint of that region", s.bucket, answer).Because(cause)
	case status == http.StatusNotFound && (code == "NoSuchKey" || code == "NotFound" || code == ""):
		return fault.New(CodeNotFound, "key", "there is no object %q in the bucket", key).Because(errors.Join(ErrNotFound, cause))
	case code == "RequestTimeTooSkewed" || code == "RequestExpired":
		return fault.New(CodeClock, "", "the bucket %q refused the request because the clocks of the worker and of the service differ (%s); "+
			"correct the clock of the machine that the worker runs on, or try another worker", s.bucket, answer).Again().Because(cause)
	case status == http.StatusUnauthorized || status == http.StatusForbidden || code == "XAdminUserNotFound": // 404, from versitygw
		denied := fault.New(CodeDenied, name("BUCKET_ACCESS_KEY_ID"),
			"the bucket %q refused the request (%s); check the access key, its secret, and that it may put, get and abort uploads of objects", s.bucket, answer)
		if code == "AccessDenied" {
			return denied.Because(errors.Join(ErrNotFound, cause)) // Get says why
		}
		return denied.Because(cause)
	}
	failed := fault.New(CodeFailed, name("BUCKET_ENDPOINT_URL"), "the bucket %q could not be used (%s), after up to %d attempts", s.bucket, answer, attempts).Because(cause)
	if transient(status) || code == "NoSuchUpload" { // somebody aborted it
		return failed.Again()
	}
	return failed
}

// about names the setting or field in a fault of somebody who cannot know it.
func about(f *fault.Error, field string) *fault.Error {
	if f.Field != "" {
		return f
	}
	c := *f
	c.Field = field
	return &c
}

// transient reports whether trying again may help after an answer; 0 is none.
func transient(status int) bool {
	return status == 0 || status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests
}

// statusOf is the status of the answer that err is about; 0 if there was none.
func statusOf(err error) int {
	if answer, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return answer.HTTPStatusCode()
	}
	return 0
}

// codeOf is S3's name of the error, such as AccessDenied.
func codeOf(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return plainCode(api.ErrorCode())
	}
	return ""
}

// plainCode keeps codes, and not the other texts that a server may send in their place.
func plainCode(code string) string {
	if len(code) > 64 || strings.ContainsFunc(code, unsafe) {
		return ""
	}
	return code
}

func answerOf(err error) string { return answerText(statusOf(err), codeOf(err)) }

// answerText is what a server answered, in a few words.
func answerText(status int, code string) string {
	if status == 0 {
		return "no answer"
	}
	text := strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
	if code != "" {
		text += ", " + code
	}
	return text
}

// redacted is an error whose text is safe to log.
type redacted struct {
	text string
	err  error
}

func (r redacted) Error() string { return r.text }
func (r redacted) Unwrap() error { return r.err }

// redact takes secrets out of an error's text, which may be an answer that quotes them, and bounds it.
func redact(err error, secrets ...string) error {
	const limit = 500
	text := err.Error()
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be a part of the other
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, masked)
		}
	}
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return redacted{text, err}
}
