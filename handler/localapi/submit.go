package localapi

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// refusal is an answer other than 200.
type refusal struct {
	status int
	Problem
	retryAfter time.Duration // 0: none
}

func (r *refusal) Error() string { return r.Problem.Error }

func refuse(status int, code, field, format string, args ...any) *refusal {
	return &refusal{status: status, Problem: Problem{Error: fmt.Sprintf(format, args...), Code: code, Field: field}}
}

// validID keeps ids that clients choose safe in addresses and logs.
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

const maxLimit = 365 * 24 * time.Hour

// readRequest reads the body of /run.
func readRequest(body []byte) (Request, error) {
	var r Request
	err := json.Unmarshal(body, &r)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" {
			return r, refuse(http.StatusBadRequest, "invalid_json", "", `The body must be a job, {"input": {…}}, and is a %s.`, wrong.Value)
		}
		return r, refuse(http.StatusBadRequest, "wrong_type", wrong.Field, "%s must be %s and is a %s.", wrong.Field, kindOf(wrong), wrong.Value)
	}
	if err != nil {
		return r, refuse(http.StatusBadRequest, "invalid_json", "", `The body is no JSON: %s. Send a job, {"input": {…}}.`, err)
	}
	if len(r.Input) == 0 || bytes.Equal(r.Input, []byte("null")) {
		return r, refuse(http.StatusBadRequest, "missing_input", "input", `input is missing or null: send the job as {"input": {…}}.`)
	}
	if r.ID != "" && !validID.MatchString(r.ID) {
		return r, refuse(http.StatusBadRequest, "invalid_id", "id", "id must be 1 to 128 letters, digits and . _ -, and begin with a letter or a digit; or leave it out.")
	}
	for name, ms := range map[string]int64{"policy.executionTimeout": r.Policy.ExecutionTimeout, "policy.ttl": r.Policy.TTL} {
		if ms < 0 || ms > maxLimit.Milliseconds() {
			return r, refuse(http.StatusBadRequest, "out_of_range", name, "%s is %d; it must be 0 (no limit) to %d milliseconds.", name, ms, maxLimit.Milliseconds())
		}
	}
	if u, err := url.Parse(r.Webhook); r.Webhook != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		return r, refuse(http.StatusBadRequest, "invalid_url", "webhook", "webhook must be an http or https address without a user name.")
	}
	return r, nil
}

func kindOf(e *json.UnmarshalTypeError) string {
	switch kind := e.Type.Kind().String(); kind {
	case "string":
		return "a text"
	case "int64":
		return "a whole number"
	case "bool":
		return "true or false"
	}
	return "an object"
}

// submit takes a job into the queue, or says that it is there.
func (s *Server) submit(r Request) (*job, error) {
	names, err := s.uploads.named(r.Input)
	if err != nil {
		return nil, err
	}
	j := &job{
		id: cmp.Or(r.ID, newID()), inputID: sha256.Sum256(r.Input), short: shortened(r.Input), uploads: names,
		quick: s.Quick != nil && s.Quick(r.Input), state: InQueue, changed: make(chan struct{}),
	}
	j.work = runpod.Job{ID: j.id, Input: r.Input, Webhook: r.Webhook, Policy: r.Policy}
	if c := r.S3Config; c != nil {
		j.work.S3 = &runpod.S3Config{
			AccessID: runpod.Secret(c.AccessID), AccessSecret: runpod.Secret(c.AccessSecret), BucketName: c.BucketName,
			EndpointURL: c.EndpointURL, ObjectPath: c.ObjectPath, Region: c.Region,
		}
	}
	return s.queue.add(j)
}

// newID is a random UUID, marked as RunPod marks where a job ran.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x-local", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

const (
	maxShortText  = 5000     // characters
	maxShortInput = 64 << 10 // bytes
)

// shortened is an input for the history: long texts are cut, and what is still long is left out.
func shortened(input json.RawMessage) json.RawMessage {
	in := json.NewDecoder(bytes.NewReader(input))
	in.UseNumber()
	var v any
	if in.Decode(&v) != nil {
		return nil
	}
	short, err := runpod.Encode(shorter(v))
	if err != nil || len(short) > maxShortInput {
		return nil
	}
	return short
}

func shorter(v any) any {
	switch v := v.(type) {
	case string:
		if len(v) <= maxShortText || utf8.RuneCountInString(v) <= maxShortText {
			return v
		}
		return string([]rune(v[:min(len(v), maxShortText*utf8.UTFMax)])[:maxShortText]) + "…"
	case []any:
		for i := range v {
			v[i] = shorter(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = shorter(v[name])
		}
	}
	return v
}
