package runpod

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// Redactor takes secrets out of what is logged and reported: values of environment variables that are named like secrets,
// RunPod's key, the keys that jobs bring along while they run, and the signatures of signed addresses, whoever signed them.
type Redactor struct {
	mu      sync.RWMutex
	secrets map[string]int // how many still need it
	replace *strings.Replacer
}

const hidden = "REDACTED"

// minSecret spares values that are no secrets but words.
const minSecret = 6

// NewRedactor knows the secrets of an environment like os.Environ's.
func NewRedactor(c Config, environ []string) *Redactor {
	r := &Redactor{secrets: map[string]int{}}
	r.change(string(c.APIKey), 1)
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		name = strings.ToUpper(name)
		for _, suffix := range []string{"_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_KEY_ID", "_CREDENTIALS"} {
			if strings.HasSuffix(name, suffix) {
				r.change(value, 1)
			}
		}
	}
	return r
}

// add hides a job's secrets until the function that it returns is called.
func (r *Redactor) add(job Job) (remove func()) {
	if job.S3 == nil {
		return func() {}
	}
	secrets := []Secret{job.S3.AccessID, job.S3.AccessSecret}
	for _, s := range secrets {
		r.change(string(s), 1)
	}
	return func() {
		for _, s := range secrets {
			r.change(string(s), -1)
		}
	}
}

func (r *Redactor) change(secret string, by int) {
	if len(secret) < minSecret {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secrets[secret] += by; r.secrets[secret] <= 0 {
		delete(r.secrets, secret)
	}
	var pairs []string
	for s := range r.secrets {
		for _, form := range forms(s) {
			pairs = append(pairs, form, hidden)
		}
	}
	r.replace = strings.NewReplacer(pairs...)
}

// forms are the ways in which a secret may be written: as it is, in JSON, which may be a text in JSON itself, in addresses.
func forms(s string) []string {
	all := []string{s, url.QueryEscape(s), url.PathEscape(s)}
	plain, html := s, s
	for range 3 {
		if raw, err := Encode(plain); err == nil {
			plain = string(raw[1 : len(raw)-1])
		}
		if raw, err := json.Marshal(html); err == nil {
			html = string(raw[1 : len(raw)-1])
		}
		all = append(all, plain, html)
	}
	return all
}

// signature is the part of a signed address that makes it one. The separator may be written as JSON or HTML does.
var signature = regexp.MustCompile(`(?i)((?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|X-Goog-Signature|X-Goog-Credential|AWSAccessKeyId|Signature|sig)(?:=|%3D))[^&\s"'\\<>]+`)

// Text hides secrets in a text.
func (r *Redactor) Text(s string) string {
	r.mu.RLock()
	replace := r.replace
	r.mu.RUnlock()
	if replace != nil {
		s = replace.Replace(s)
	}
	if !strings.ContainsAny(s, "=%") {
		return s
	}
	return signature.ReplaceAllString(s, "${1}"+hidden)
}

// JSON hides secrets in a JSON text, which it still is afterwards.
func (r *Redactor) JSON(raw []byte) json.RawMessage {
	clean := []byte(r.Text(string(raw)))
	if bytes.Equal(clean, raw) || json.Valid(clean) {
		return clean
	}
	return json.RawMessage(`"` + hidden + `"`)
}
