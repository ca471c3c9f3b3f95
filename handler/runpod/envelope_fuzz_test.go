package runpod

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzTake: whatever a take answers, every element is either a job that can be answered or has no id, and is then never run.
func FuzzTake(f *testing.F) {
	for _, seed := range []string{`{"id":"a","input":{}}`, `[{"id":1,"input":null},7,null]`, `{"id":"a","s3Config":{"accessId":"x"},"policy":[]}`, `"x"`, `[`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		jobs, err := jobsIn(body)
		if err != nil && !json.Valid(body) {
			return
		}
		for _, raw := range jobs {
			job, problem := parseJob(raw)
			if job.ID == "" && problem == nil {
				t.Fatalf("%q: a job without an id is no problem", raw)
			}
			if job.ID != "" && problem == nil && (!json.Valid(job.Input) || empty(job.Input)) {
				t.Fatalf("%q: the input is %q", raw, job.Input)
			}
		}
	})
}

// FuzzRedact: redacted JSON is JSON, and secrets do not survive.
func FuzzRedact(f *testing.F) {
	f.Add(`{"a":"secret-value","url":"https://x?X-Amz-Signature=abc&b=1"}`)
	f.Fuzz(func(t *testing.T, text string) {
		r := NewRedactor(Config{APIKey: "secret-value"}, nil)
		if raw, err := Encode(text); err == nil {
			if clean := r.JSON(raw); !json.Valid(clean) {
				t.Fatalf("%q becomes %q", raw, clean)
			}
		}
		if clean := r.Text(text); strings.Contains(clean, "secret-value") {
			t.Fatalf("%q becomes %q", text, clean)
		}
	})
}
