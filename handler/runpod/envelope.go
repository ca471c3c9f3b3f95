package runpod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// errNoID is a job that nobody can be told about.
var errNoID = errors.New("the job has no id")

// parseJob reads a job's envelope. An error beside an id is the client's to read.
func parseJob(raw json.RawMessage) (Job, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return Job{}, fmt.Errorf("%w: it is not an object", errNoID)
	}
	job := Job{ID: idOf(fields["id"]), Input: fields["input"]}
	if job.ID == "" {
		return Job{}, fmt.Errorf("%w, only the fields %s", errNoID, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
	}
	// Fields that only inform are ignored when they have another shape than expected.
	json.Unmarshal(fields["webhook"], &job.Webhook) //nolint:errcheck // see above
	json.Unmarshal(fields["batchId"], &job.BatchID) //nolint:errcheck // see above
	if json.Unmarshal(fields["policy"], &job.Policy) != nil {
		job.Policy = Policy{}
	}
	s3 := fields["s3Config"]
	for _, known := range []string{"id", "input", "webhook", "batchId", "policy", "s3Config"} {
		delete(fields, known)
	}
	job.Extra = fields

	if empty(job.Input) {
		return job, Fail("missing_input", "input is missing or empty: send the job as {\"input\": {…}}.")
	}
	if !empty(s3) {
		job.S3 = new(S3Config)
		if json.Unmarshal(s3, job.S3) != nil { // its error would quote the secrets
			return job, Fail("invalid_s3_config", "s3Config must be an object with the texts accessId, accessSecret, bucketName and endpointUrl.")
		}
	}
	return job, nil
}

// idOf accepts a number: JSON made by hand has them.
func idOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

func empty(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}

// jobsIn are the jobs of a take's answer, unread. null, numbers and texts are none.
func jobsIn(body []byte) ([]json.RawMessage, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, nil
	}
	if !json.Valid(body) {
		return nil, errors.New("the answer is no JSON")
	}
	switch body[0] {
	case '{':
		return []json.RawMessage{body}, nil
	case '[':
		var list []json.RawMessage
		err := json.Unmarshal(body, &list)
		return list, err
	}
	return nil, nil
}
