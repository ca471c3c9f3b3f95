package runpod

import (
	"context"
	"encoding/json"
	"fmt"
)

// Job is what RunPod gave out.
type Job struct {
	ID    string          // RunPod's; opaque. Make it safe before it becomes a file name or a key.
	Input json.RawMessage // any JSON value but null; what it has to look like is the handler's affair

	Webhook string    // where RunPod will report the result; RunPod does that itself
	S3      *S3Config // the bucket that the request brought along, or nil
	Policy  Policy    // the request's limits, as far as RunPod passes them on
	BatchID string    // set when RunPod groups jobs

	// Extra holds the envelope's other fields.
	Extra map[string]json.RawMessage
}

// S3Config is a job's own bucket. RunPod only passes it through. It never shows in logs, errors or progress.
type S3Config struct {
	AccessID     Secret `json:"accessId"`
	AccessSecret Secret `json:"accessSecret"`
	BucketName   string `json:"bucketName"`
	EndpointURL  string `json:"endpointUrl"`
	ObjectPath   string `json:"objectPath"`
	Region       string `json:"region"`
}

// Policy is what the request said about time, in milliseconds; 0: nothing.
type Policy struct {
	ExecutionTimeout int64 `json:"executionTimeout"`
	TTL              int64 `json:"ttl"`
	LowPriority      bool  `json:"lowPriority"`
}

// Secret is a string that does not print.
type Secret string

func (Secret) String() string               { return "(secret)" }
func (Secret) GoString() string             { return "(secret)" }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"(secret)"`), nil }

// Handler does a job's work. Its context ends when the job is cancelled, has run too long, or the worker must stop at
// once; it should then clean up and return within seconds. What it returns after a cancellation is dropped.
//
// An error that is a Failure is the answer to the client as it is. Any other error, and a panic, is reported as an
// internal one, with its type and trace.
type Handler func(ctx context.Context, job Job, r Reporter) (Result, error)

// Reporter is told how a job gets on. Its methods may be called from any goroutine until the handler returns; calls after
// that do nothing.
type Reporter interface {
	// Progress shows v, a small JSON value, to whoever asks for the job's status. It returns at once. Only the newest
	// value is sent, and not more often than WORKER_PROGRESS_MIN_INTERVAL, except when the field "stage" of an object
	// has changed.
	Progress(v any)

	// Stream sends a chunk of at most 1 MB to the stream endpoint, in order. It returns at once unless many chunks are
	// waiting. Chunks that RunPod does not take are dropped.
	Stream(v any) error
}

// Result is what a job came to.
type Result struct {
	// Output is any JSON value. A job that streamed and has no Output answers with the list of its chunks.
	Output any

	// Refresh asks RunPod for a fresh worker: the job is answered, nothing more is taken, and Run returns. It counts
	// beside an error, too.
	Refresh bool
}

// Failure is an error that its client should read.
type Failure interface {
	error // one sentence for people

	// FailureOutput is for programs: it stands beside the error, and should be an object with error_code. nil: nothing.
	FailureOutput() any
}

// JobError is a Failure.
type JobError struct {
	Code    string         // stable and snake_case
	Message string         // what is wrong, and what would help
	Details map[string]any // further fields of the output
	Err     error          // the cause, for logs and errors.Is only
}

// Fail returns a JobError. The message is formatted as by fmt.Sprintf.
func Fail(code, format string, args ...any) *JobError {
	return &JobError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *JobError) Error() string { return e.Message }
func (e *JobError) Unwrap() error { return e.Err }

// FailureOutput is the details with error_code.
func (e *JobError) FailureOutput() any {
	out := map[string]any{}
	for k, v := range e.Details {
		out[k] = v
	}
	out["error_code"] = e.Code
	return out
}
