package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"image/jpeg"
	"os/exec"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler"
	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
)

// queue works for RunPod's queue until it is told to stop. Results must go to a bucket: a path of this container is of no
// use to the caller.
// level wins over the environment's log level unless it is empty.
func (a *App) queue(ctx context.Context, settings Settings, level string) error {
	config, err := runpod.ReadConfig(a.Environ)
	if err != nil {
		return err
	}
	if level != "" {
		config.LogLevel = level
	}
	log := runpod.NewLog(a.Stdout, config, a.Environ)
	settings.Jobs.RequireBucket = true
	settings.Inference.Preload = cmp.Or(settings.Inference.Preload, inference.PreloadAuto)
	engine := &lateEngine{open: func() (Engine, error) { return a.Rooms.OpenEngine(settings, log.Logger) }}
	jobs, shut, err := a.openWith(settings, engine, log.Logger)
	if err != nil {
		reportFailure(log.Logger, err)
		return errReported
	}
	defer shut()
	worker := runpod.Worker{
		Config: config, Version: a.Version, Log: log,
		Checks:   append([]runpod.Check{{Name: "ffmpeg", Run: findFFmpeg}}, runpod.SystemChecks(config, log.Logger)...),
		Prestart: func(ctx context.Context) error { return engine.Prepare(ctx, jobs.Variant()) },
		Handler:  runpodHandler(jobs, log.Logger),
	}
	if worker.Main(ctx) != 0 {
		return errReported
	}
	return nil
}

// runpodHandler handles RunPod's jobs, whoever brings them.
func runpodHandler(jobs *handler.Handler, log zerolog.Logger) runpod.Handler {
	return func(ctx context.Context, job runpod.Job, to runpod.Reporter) (runpod.Result, error) {
		ctx, done := abandonable(ctx)
		defer done()
		result, err := jobs.Handle(ctx, queued(job), &queueReporter{to: to, log: log})
		if err != nil {
			return runpod.Result{}, queueFailure{err}
		}
		return runpod.Result{Output: result}, nil
	}
}

// queued is RunPod's job as the handler takes it.
func queued(job runpod.Job) handler.Job {
	return handler.Job{ID: job.ID, Input: job.Input, S3: bucketOf(job.S3), Timeout: time.Duration(job.Policy.ExecutionTimeout) * time.Millisecond}
}

// abandonable tells the handler, in its own words, that a job was cancelled and not just interrupted.
func abandonable(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		cause := context.Cause(parent)
		if errors.Is(cause, runpod.ErrCancelled) {
			cause = handler.ErrAbandoned
		}
		cancel(cause)
	})
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// bucketOf writes the job's own bucket out again: runpod hides its secrets from every encoder, the handler must see them.
func bucketOf(s3 *runpod.S3Config) json.RawMessage {
	if s3 == nil {
		return nil
	}
	text, err := json.Marshal(map[string]string{
		"accessId": string(s3.AccessID), "accessSecret": string(s3.AccessSecret), "bucketName": s3.BucketName,
		"endpointUrl": s3.EndpointURL, "objectPath": s3.ObjectPath, "region": s3.Region,
	})
	if err != nil { // a map of strings always encodes
		return nil
	}
	return text
}

// findFFmpeg is a check: without the two programs no job can be done.
func findFFmpeg(context.Context) error {
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(name); err != nil {
			return fault.New("ffmpeg_missing", name, "is not installed; add the package ffmpeg to the image")
		}
	}
	return nil
}

// queueFailure is a handler's error as RunPod's clients read it: a sentence, and codes beside it. What nobody wrote a
// sentence for says no more than that the worker's log has the cause.
type queueFailure struct{ err error }

func (f queueFailure) Error() string      { return handler.FailureOf(f.err).Error }
func (f queueFailure) Unwrap() error      { return f.err }
func (f queueFailure) FailureOutput() any { return handler.FailureOf(f.err).Output }

// queueReporter sends progress and previews to RunPod.
type queueReporter struct {
	to  runpod.Reporter
	log zerolog.Logger
}

// queueProgress is the output of a job in progress.
type queueProgress struct {
	Stage inference.Stage `json:"stage"`
	Step  int             `json:"step"`
	Steps int             `json:"steps"`
}

func (r *queueReporter) Progress(p inference.Progress) {
	r.to.Progress(queueProgress{p.Stage, p.Step, p.Steps})
}

// queuePreview is a chunk of the stream.
type queuePreview struct {
	Preview string `json:"preview"` // a data: URI
	Step    int    `json:"step"`
}

// previewQuality is enough for a hint of about a hundred pixels.
const previewQuality = 85

func (r *queueReporter) Preview(step int, p *media.Picture) {
	var b bytes.Buffer
	err := jpeg.Encode(&b, p.Image(), &jpeg.Options{Quality: previewQuality})
	if err == nil {
		err = r.to.Stream(queuePreview{"data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b.Bytes()), step})
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		r.log.Warn().Err(err).Msg("A preview could not be sent.")
	}
}
