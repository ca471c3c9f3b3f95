package localapi

import (
	"encoding/json"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// State is RunPod's word for where a job is.
type State string

// RunPod's states. The last four are final.
const (
	InQueue    State = "IN_QUEUE"
	InProgress State = "IN_PROGRESS"
	Completed  State = "COMPLETED"
	Failed     State = "FAILED"
	Cancelled  State = "CANCELLED"
	TimedOut   State = "TIMED_OUT"
)

var states = []any{InQueue, InProgress, Completed, Failed, Cancelled, TimedOut}

// Final reports whether a job's state will not change any more.
func (s State) Final() bool { return s != InQueue && s != InProgress }

// Request is a job as it is sent.
type Request struct {
	Input    json.RawMessage `json:"input" jsonschema:"what to make; any value but null"`
	ID       string          `json:"id,omitempty" jsonschema:"the job's id, of letters, digits and . _ -, if the client wants to choose it: sent again while the job waits or runs, it is the same job"`
	Webhook  string          `json:"webhook,omitempty" jsonschema:"an address that the final status is posted to"`
	Policy   runpod.Policy   `json:"policy,omitzero" jsonschema:"limits in milliseconds: executionTimeout of the run, ttl from now to the end; 0 or absent: none"`
	S3Config *S3Config       `json:"s3Config,omitempty" jsonschema:"the job's own bucket for the result"`
}

// S3Config is a job's own bucket, as it is sent. It is never sent back.
type S3Config struct {
	AccessID     string `json:"accessId,omitempty"`
	AccessSecret string `json:"accessSecret,omitempty"`
	BucketName   string `json:"bucketName,omitempty"`
	EndpointURL  string `json:"endpointUrl,omitempty"`
	ObjectPath   string `json:"objectPath,omitempty"`
	Region       string `json:"region,omitempty"`
}

// Ticket answers a job that was accepted.
type Ticket struct {
	ID     string `json:"id"`
	Status State  `json:"status"`
}

// Status is what is known of a job. Absent fields are not known yet; the numbers are whole, as SDKs decode them.
type Status struct {
	ID            string          `json:"id"`
	State         State           `json:"status"`
	DelayTime     *int64          `json:"delayTime,omitempty" jsonschema:"milliseconds in the queue"`
	ExecutionTime *int64          `json:"executionTime,omitempty" jsonschema:"milliseconds of the run, so far while it lasts"`
	Output        json.RawMessage `json:"output,omitempty" jsonschema:"the result; of a failed job the error for programs; of a running one its last progress, as RunPod has it"`
	Error         string          `json:"error,omitempty" jsonschema:"why the job failed, a sentence"`
	Retries       int             `json:"retries,omitempty"`
	WorkerID      string          `json:"workerId,omitempty"`
	Progress      *Progress       `json:"progress,omitempty" jsonschema:"of a job that waits or runs"`
}

// Progress is how far a job is.
type Progress struct {
	QueuePosition int     `json:"queue_position,omitempty" jsonschema:"1 is next"`
	Stage         string  `json:"stage,omitempty" jsonschema:"what the job is at"`
	Step          int     `json:"step" jsonschema:"of steps, within the stage"`
	Steps         int     `json:"steps"`
	ElapsedS      float64 `json:"elapsed_s" jsonschema:"seconds since the run began"`
	StageElapsedS float64 `json:"stage_elapsed_s"`
	ETAS          float64 `json:"eta_s,omitempty" jsonschema:"seconds that are left of the stage, at its average speed so far"`
}

// Stream is what a job has streamed since the last request.
type Stream struct {
	ID     string  `json:"id"`
	Status State   `json:"status"`
	Stream []Chunk `json:"stream"`
}

// Chunk is a piece of a stream.
type Chunk struct {
	Output json.RawMessage `json:"output"`
}

// Purge says how many jobs that waited were removed.
type Purge struct {
	Removed int    `json:"removed"`
	Status  string `json:"status"`
}

// Health counts jobs and workers. A worker is a place for one job.
type Health struct {
	Jobs    HealthJobs    `json:"jobs"`
	Workers HealthWorkers `json:"workers"`
}

// HealthJobs counts jobs since the start of the server.
type HealthJobs struct {
	Completed  int `json:"completed"`
	Failed     int `json:"failed"`
	InProgress int `json:"inProgress"`
	InQueue    int `json:"inQueue"`
	Retried    int `json:"retried"`
}

// HealthWorkers counts places.
type HealthWorkers struct {
	Idle         int `json:"idle"`
	Initializing int `json:"initializing" jsonschema:"the models are being opened"`
	Ready        int `json:"ready"`
	Running      int `json:"running"`
	Throttled    int `json:"throttled"`
	Unhealthy    int `json:"unhealthy" jsonschema:"held by a job that does not end although it was told to"`
}

// Entry is a job in the history.
type Entry struct {
	Status
	CreatedAt  time.Time       `json:"created_at"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
	Input      json.RawMessage `json:"input,omitempty" jsonschema:"as it was sent, with long texts cut"`
}

// History is this server's jobs, newest first.
type History struct {
	Jobs []Entry `json:"jobs"`
}

// Upload is a file that jobs may name.
type Upload struct {
	Source    string    `json:"source" jsonschema:"to be written where a job takes a source"`
	Bytes     int64     `json:"bytes"`
	ExpiresAt time.Time `json:"expires_at" jsonschema:"unless a job uses it before"`
}

// Info is what a client may want to know of the server.
type Info struct {
	Version     string `json:"version"`
	Concurrency int    `json:"concurrency" jsonschema:"jobs at the same time"`
	KeyRequired bool   `json:"key_required"`
	Limits      Limits `json:"limits"`
	Endpoint    any    `json:"endpoint,omitempty" jsonschema:"what the jobs' handler has to say of itself"`
}

// Limits are in bytes, and jobs that may wait.
type Limits struct {
	Run     int64 `json:"run_bytes"`
	RunSync int64 `json:"runsync_bytes"`
	Upload  int64 `json:"upload_bytes"`
	Uploads int64 `json:"uploads_bytes" jsonschema:"of all files together"`
	Queue   int   `json:"queue"`
}

// Nothing is an empty object.
type Nothing struct{}

// Problem answers what cannot be done.
type Problem struct {
	Error string `json:"error" jsonschema:"a sentence"`
	Code  string `json:"code"`
	Field string `json:"field,omitempty"`
}
