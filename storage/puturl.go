package storage

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// uploadField is what a job calls the address.
const uploadField = "output.upload_url"

// PutURL uploads file to a presigned PUT address, replacing what is there. It is idempotent. Connections that break and
// answers that say "later" are tried again. For an address that came with a job, client must be one that checks the
// addresses it connects to; nil is one that goes anywhere. Redirects are refusals: the signature is for one host.
//
// The address is a secret: of it, errors hold the host alone.
func PutURL(ctx context.Context, address, file, contentType string, client *http.Client) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return fault.New(CodeInvalidURL, uploadField, "is no https address; give a presigned PUT URL")
	}
	f, size, err := openSource(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	up := upload{address: u, file: f, size: size, contentType: contentType, client: patientClient(client)}
	if u.Query().Has("X-Amz-Signature") {
		if up.digest, err = digest(f); err != nil {
			return fault.New(CodeFailed, "", "The finished file cannot be read to upload it.").Because(err)
		}
	}
	for attempt := 1; ; attempt++ {
		again, err := up.try(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil || !again || attempt == attempts {
			return err
		}
		select {
		case <-time.After(pause(attempt)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// upload is a presigned PUT of one file.
type upload struct {
	address     *url.URL
	file        *os.File
	size        int64
	contentType string
	digest      string // Content-MD5; empty: none
	client      *http.Client
}

// digest makes the server check what arrives: the signature of an address is not one of the content, and there are
// servers that keep the first half of an upload that broke off. Other signatures than AWS's fourth may break with it.
func digest(f *os.File) (string, error) {
	h := md5.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// try makes one attempt. again: another one may help.
func (u *upload) try(ctx context.Context) (again bool, err error) {
	// A reader of its own for each attempt: the transport may still read from that of the last.
	body := io.NopCloser(io.NewSectionReader(u.file, 0, u.size))
	if u.size == 0 {
		body = http.NoBody // else the length would be taken for unknown
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, u.address.String(), body)
	if err != nil {
		return false, fault.New(CodeInvalidURL, uploadField, "is no https address; give a presigned PUT URL")
	}
	request.ContentLength = u.size
	request.Header.Set("Content-Type", u.contentType)
	if u.digest != "" {
		request.Header.Set("Content-MD5", u.digest)
	}
	answer, err := u.client.Do(request)
	if err != nil {
		return u.unanswered(err)
	}
	defer answer.Body.Close() //nolint:errcheck // only read from
	if answer.StatusCode/100 == 2 {
		return false, nil
	}
	code := codeIn(answer.Body)
	if transient(answer.StatusCode) || code == "RequestTimeout" {
		return true, fault.New(CodeUploadFailed, uploadField, "%s answered the upload with %s, %d times; try again later",
			u.address.Host, answerText(answer.StatusCode, code), attempts).Again()
	}
	return false, fault.New(CodeUploadRefused, uploadField,
		"%s refused the upload (%s); give a presigned PUT URL that has not expired and was signed for any content type, or for %s",
		u.address.Host, answerText(answer.StatusCode, code), u.contentType)
}

func (u *upload) unanswered(err error) (again bool, _ error) {
	if f, ok := errors.AsType[*fault.Error](err); ok { // of the client that checks addresses
		return f.Retryable, about(f, uploadField)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the address
	}
	failed := fault.New(CodeUploadFailed, uploadField, "the upload to %s did not get through, after %d attempts; see whether it can be reached from the worker",
		u.address.Host, attempts).Again()
	return true, failed.Because(redact(err, u.address.String(), u.address.RequestURI(), u.address.RawQuery))
}

var codeElement = regexp.MustCompile(`<Code>([A-Za-z0-9.]{1,64})</Code>`)

// codeIn finds S3's name of an error in the beginning of an answer.
func codeIn(body io.Reader) string {
	data, _ := io.ReadAll(io.LimitReader(body, 4096)) // a broken answer has no code
	if found := codeElement.FindSubmatch(data); found != nil {
		return string(found[1])
	}
	return ""
}
