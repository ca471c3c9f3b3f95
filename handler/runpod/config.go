package runpod

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/rs/zerolog"
)

// Config is what RunPod and the endpoint's owner set. Not read, because they mean nothing to this worker:
// RUNPOD_INIT_TIMEOUT (the platform's), RUNPOD_ENDPOINT_BASE_URL (clients'), RUNPOD_PROJECT_ID,
// RUNPOD_REALTIME_CONCURRENCY and RUNPOD_GPU_BENCHMARK_TIMEOUT (there is no benchmark).
type Config struct {
	// The queue's addresses: templates with $RUNPOD_POD_ID, $ID and $RUNPOD_GPU_TYPE_ID. Without PostStream chunks are
	// not streamed; without Ping or APIKey there is no heartbeat.
	GetJob     string `env:"RUNPOD_WEBHOOK_GET_JOB"`
	PostOutput string `env:"RUNPOD_WEBHOOK_POST_OUTPUT"`
	PostStream string `env:"RUNPOD_WEBHOOK_POST_STREAM"`
	Ping       string `env:"RUNPOD_WEBHOOK_PING"`

	// PingInterval is in milliseconds; at least 1000. Empty or no number: 10000.
	PingInterval string `env:"RUNPOD_PING_INTERVAL"`

	// APIKey is the whole Authorization header of every request.
	APIKey Secret `env:"RUNPOD_AI_API_KEY"`

	// The worker's id is the first of these that is set, else a random one.
	PodID       string `env:"RUNPOD_POD_ID"`
	PodHostname string `env:"RUNPOD_POD_HOSTNAME"`
	Hostname    string `env:"HOSTNAME"`

	// EndpointID turns the log's lines into JSON.
	EndpointID string `env:"RUNPOD_ENDPOINT_ID"`

	// GPUTypeID fills $RUNPOD_GPU_TYPE_ID; without it GPUName, which comes escaped.
	GPUTypeID string `env:"RUNPOD_GPU_TYPE_ID"`
	GPUName   string `env:"RUNPOD_GPU_NAME"`
	GPUCount  int    `env:"RUNPOD_GPU_COUNT"`

	// LogLevel is the least severe level that is logged, by name or RunPod's number. Empty: DebugLevel, then INFO.
	LogLevel   string `env:"RUNPOD_LOG_LEVEL"`
	DebugLevel string `env:"RUNPOD_DEBUG_LEVEL"`

	// Integration is appended to the User-Agent.
	Integration string `env:"RUNPOD_UA_INTEGRATION"`

	// RealtimePort asks for an HTTP server instead of the queue. There is none here: a warning says so.
	RealtimePort string `env:"RUNPOD_REALTIME_PORT"`

	// Test is "true" in RunPod's Hub harness, which takes every post for the result: no progress is posted there.
	Test string `env:"RUNPOD_TEST"`

	Fitness FitnessConfig

	// Concurrency is how many jobs run at the same time.
	Concurrency int `env:"WORKER_CONCURRENCY" envDefault:"1"`

	// EagerTake takes jobs while Prestart still runs, so that one that fails has a job to tell the reason to. The time
	// counts as the job's execution time.
	EagerTake bool `env:"WORKER_EAGER_TAKE" envDefault:"true"`

	// PrestartTimeout bounds Prestart. 0: no bound.
	PrestartTimeout time.Duration `env:"WORKER_PRESTART_TIMEOUT"`

	// JobTimeout bounds a job, counted from its arrival; the client gets an error that says so, which is more than
	// RunPod's own timeout tells. Set it a little below the endpoint's execution timeout. 0: 95 % of the execution
	// timeout of the job's policy, if it has one.
	JobTimeout time.Duration `env:"WORKER_JOB_TIMEOUT"`

	// ShutdownGrace is how long running jobs may take after the first SIGTERM. 0: as long as they like.
	ShutdownGrace time.Duration `env:"WORKER_SHUTDOWN_GRACE"`

	// ShutdownResult says what jobs are answered that are stopped by a second SIGTERM or after ShutdownGrace: none leaves
	// them for another worker, error fails them.
	ShutdownResult string `env:"WORKER_SHUTDOWN_RESULT" envDefault:"none"`

	// ResultRetryWindow is how long a result is posted again and again while RunPod cannot be reached.
	ResultRetryWindow time.Duration `env:"WORKER_RESULT_RETRY_WINDOW" envDefault:"10m"`

	// MaxResultBytes is the largest result that is posted; RunPod drops larger ones without a word.
	MaxResultBytes int `env:"WORKER_MAX_RESULT_BYTES" envDefault:"5242880"`

	// Progress is on or off.
	Progress string `env:"WORKER_PROGRESS" envDefault:"on"`

	// ProgressMinInterval is the least time between two progress posts of a job.
	ProgressMinInterval time.Duration `env:"WORKER_PROGRESS_MIN_INTERVAL" envDefault:"2s"`

	// StateDir holds results that are under way, and what is remembered of finished jobs; a folder per worker id. It must
	// outlive the process but belong to one pod: no network volume. Empty: runpod-worker in the system's temporary folder.
	StateDir string `env:"WORKER_STATE_DIR"`

	// ReportedVersion is sent as runpod_version. Empty: go-runpod/ and the worker's version.
	ReportedVersion string `env:"WORKER_RUNPOD_VERSION"`

	// Timing is for tests. The zero value is DefaultTiming.
	Timing Timing `env:"-"`
}

// ReadConfig reads the settings from an environment like os.Environ's.
func ReadConfig(environ []string) (Config, error) {
	return env.ParseAsWithOptions[Config](env.Options{Environment: env.ToMap(environ)})
}

// Validate reports the settings that cannot work, by their names.
func (c Config) Validate() error {
	var problems []error
	bad := func(name, format string, args ...any) {
		problems = append(problems, fmt.Errorf(name+" "+format, args...))
	}
	if c.GetJob == "" {
		bad("RUNPOD_WEBHOOK_GET_JOB", "is not set; RunPod sets it, and without it there is no queue to work for")
	}
	if c.PostOutput == "" {
		bad("RUNPOD_WEBHOOK_POST_OUTPUT", "is not set; RunPod sets it, and without it no result can be delivered")
	}
	for name, template := range map[string]string{"GET_JOB": c.GetJob, "POST_OUTPUT": c.PostOutput, "POST_STREAM": c.PostStream, "PING": c.Ping} {
		if template != "" && !strings.HasPrefix(template, "http://") && !strings.HasPrefix(template, "https://") {
			bad("RUNPOD_WEBHOOK_"+name, "is no http or https address; unset it outside of RunPod")
		}
	}
	if c.Concurrency < 1 || c.Concurrency > 1000 {
		bad("WORKER_CONCURRENCY", "is %d; it must be 1 to 1000 jobs at the same time", c.Concurrency)
	}
	for name, d := range map[string]time.Duration{
		"WORKER_PRESTART_TIMEOUT": c.PrestartTimeout, "WORKER_JOB_TIMEOUT": c.JobTimeout, "WORKER_SHUTDOWN_GRACE": c.ShutdownGrace,
		"WORKER_RESULT_RETRY_WINDOW": c.ResultRetryWindow, "WORKER_PROGRESS_MIN_INTERVAL": c.ProgressMinInterval,
	} {
		if d < 0 {
			bad(name, "is %s; it must not be negative", d)
		}
	}
	if c.ShutdownResult != "none" && c.ShutdownResult != "error" {
		bad("WORKER_SHUTDOWN_RESULT", "is %.40q; set it to none or error", c.ShutdownResult)
	}
	if c.Progress != "on" && c.Progress != "off" {
		bad("WORKER_PROGRESS", "is %.40q; set it to on or off", c.Progress)
	}
	if c.MaxResultBytes < 16<<10 || c.MaxResultBytes > 20<<20 {
		bad("WORKER_MAX_RESULT_BYTES", "is %d; it must be %d to %d, the most that RunPod takes", c.MaxResultBytes, 16<<10, 20<<20)
	}
	return errors.Join(append(problems, c.Fitness.validate())...)
}

// workerID is the id that addresses are filled with.
func (c Config) workerID() string {
	return cmp.Or(c.PodID, c.PodHostname, c.Hostname, rand.Text())
}

func (c Config) stateDir() string {
	return cmp.Or(c.StateDir, filepath.Join(os.TempDir(), "runpod-worker"))
}

// pingInterval never fails: a worker without a heartbeat is a dead one to RunPod.
func (c Config) pingInterval() time.Duration {
	ms, err := strconv.ParseInt(strings.TrimSpace(c.PingInterval), 10, 32)
	if err != nil {
		return c.Timing.PingDefault
	}
	return max(time.Duration(ms)*time.Millisecond, c.Timing.PingMin)
}

// progressWorks is false where a progress post would be taken for the result.
func (c Config) progressWorks() bool {
	return c.Progress != "off" && c.Test != "true" && !strings.Contains(c.PostOutput, "/v2/IDE/")
}

// Level is the level to log at. known is false for a name that nobody uses; it means INFO.
func (c Config) Level() (level zerolog.Level, known bool) {
	switch strings.ToUpper(strings.TrimSpace(cmp.Or(c.LogLevel, c.DebugLevel))) {
	case "", "INFO", "3":
		return zerolog.InfoLevel, true
	case "NOTSET", "0":
		return zerolog.Disabled, true
	case "TRACE", "1":
		return zerolog.TraceLevel, true
	case "DEBUG", "2":
		return zerolog.DebugLevel, true
	case "WARN", "WARNING", "4":
		return zerolog.WarnLevel, true
	case "ERROR", "FATAL", "CRITICAL", "5":
		return zerolog.ErrorLevel, true
	}
	return zerolog.InfoLevel, false
}
