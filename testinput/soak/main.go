// Command soak works a worker for a long time: the real binary, RunPod's queue as a strict stand-in, a real S3 server, real
// ffmpeg and ONNX Runtime, the demo weights. Of its jobs, small ones of every kind, some are cancelled, some are bad and some
// come twice. Every outcome is checked, and what the worker holds is measured until it shows whether anything grows:
//
//	go run ./testinput/soak --jobs 2000 --out docs
//
// It writes soak.json and soak.png, and fails if a job ended otherwise than it must or a quantity grows.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/inference"
)

// options say what is run.
type options struct {
	jobs        int
	seed        uint64
	concurrency int // jobs at the same time
	rest        int // jobs between rests
	slopes      bool
	binary      string // the worker
	library     string // ONNX Runtime; empty: the one that is found
	path        string // where the worker finds ffmpeg
	voice       string // a sound file
	tell        func(format string, args ...any)
}

func main() {
	o := options{slopes: true, path: os.Getenv("PATH"), library: os.Getenv("ONNXRUNTIME_LIB")}
	flag.IntVar(&o.jobs, "jobs", 2000, "how many jobs")
	flag.Uint64Var(&o.seed, "seed", 1, "of the mix: the same seed, the same jobs")
	flag.IntVar(&o.concurrency, "concurrency", 2, "jobs at the same time")
	flag.IntVar(&o.rest, "rest", 10, "jobs between two moments of rest, at which the worker is measured")
	flag.StringVar(&o.binary, "worker", "bin/humo-worker", "the worker's binary")
	flag.StringVar(&o.voice, "voice", "testinput/voice.wav", "a sound file")
	out := flag.String("out", "", "folder for soak.json and soak.png; empty: none are written")
	flag.Parse()
	o.tell = func(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := command(ctx, o, *out); err != nil {
		o.tell("%s", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, o options, out string) error {
	var err error
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	var r *report
	err = onStage(ctx, func(t testing.TB) (err error) {
		r, err = soak(ctx, t, o)
		return err
	})
	if r == nil {
		return err
	}
	if out != "" {
		err = errors.Join(err, r.write(filepath.Join(out, "soak.json")), r.draw(filepath.Join(out, "soak.png")))
	}
	for _, t := range r.Trends {
		o.tell("%-34s %-16s %+.3f (%+.3f to %+.3f) %s per 1000 jobs; mean of the last two quarters: %.2f, %.2f", t.Name, t.Verdict, t.Slope, t.Low, t.High, t.Unit, t.First, t.Last)
	}
	return errors.Join(err, r.verdict())
}

// soak does a run. t is a test or a stage.
func soak(ctx context.Context, t testing.TB, o options) (*report, error) {
	w := build(t, o)
	for _, dir := range []string{"home", "tmp", "work"} {
		if err := os.Mkdir(filepath.Join(w.dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	env := append(w.env, fmt.Sprintf("WORKER_CONCURRENCY=%d", o.concurrency))
	worker, err := startWorker(ctx, o.binary, filepath.Join(w.dir, "work"), env)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		worker.cmd.Process.Kill() //nolint:errcheck // it has ended, or the run was cut short
		<-worker.ended
	})
	r := &run{world: w, o: o, worker: worker, mix: w.mixer(o), left: o.jobs, counts: map[string]int{}}
	err = r.drive(ctx)
	if err == nil {
		err = r.over()
	}
	return r.report(), err
}

// report is what a run showed.
type report struct {
	Date        string            `json:"date"`
	Machine     inference.Machine `json:"machine"`
	Jobs        int               `json:"jobs"`
	Seed        uint64            `json:"seed"`
	Concurrency int               `json:"concurrency"`
	Minutes     float64           `json:"minutes"`
	Counts      map[string]int    `json:"counts"`
	CacheFullAt int               `json:"prompt_cache_full_after_jobs,omitempty"` // as the mix has it
	LateResults int               `json:"objects_of_jobs_cancelled_too_late"`
	CPUSeconds  float64           `json:"cpu_seconds_per_job"` // of the worker and the programs that it starts
	Wrong       []string          `json:"wrong"`
	Method      string            `json:"method"`
	Trends      []trend           `json:"trends"`
	Samples     []sample          `json:"samples"`
}

func (r *run) report() *report {
	return &report{
		Date: r.began.Format(time.DateOnly), Machine: inference.Host(), Jobs: r.done, Seed: r.o.seed, Concurrency: r.o.concurrency,
		Minutes: time.Since(r.began).Minutes(), Counts: r.counts, CacheFullAt: r.mix.fullAt, LateResults: r.late, CPUSeconds: r.worker.cpu() / float64(max(r.done, 1)), Wrong: r.wrong, Method: method,
		Trends: trends(r.samples, r.done), Samples: r.samples,
	}
}

func (r *report) write(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// verdict is an error if the run showed something bad.
func (r *report) verdict() error {
	var problems []error
	for _, w := range r.Wrong {
		problems = append(problems, errors.New(w))
	}
	for _, t := range r.Trends {
		if t.Verdict == grows {
			problems = append(problems, fmt.Errorf("%s grows by %.3f %s per 1000 jobs (%.3f to %.3f)", t.Name, t.Slope, t.Unit, t.Low, t.High))
		}
	}
	return errors.Join(problems...)
}
