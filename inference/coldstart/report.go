package coldstart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/readahead"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Report compares a start with what the disk gives.
type Report struct {
	Weights string            `json:"weights"` // the folder
	Variant inference.Variant `json:"variant"`
	Plain   struct {
		Bytes   int64   `json:"bytes"`
		Seconds float64 `json:"seconds"`
	} `json:"plain_read"`

	// WarmBytes are those of the weights that the page cache held in spite of being asked to drop them, before the plain
	// read and before the start; -1 where the system does not tell.
	WarmBytes [2]int64 `json:"warm_bytes"`

	Start     *Start  `json:"start"`
	ReadRatio float64 `json:"read_ratio"` // throughput of the reading ahead, of the plain read's; 0: nothing was read
}

// Run reads the weights of a variant plainly, then starts a process on them: each time with a page cache that has
// dropped them, as far as the system permits. start runs Measure in a new process.
func Run(ctx context.Context, cfg inference.Config, v inference.Variant, log zerolog.Logger, start func(context.Context) (*Start, error)) (*Report, error) {
	ranges, err := inUse(cfg, v, log)
	if err != nil {
		return nil, err
	}
	r := &Report{Weights: cfg.Weights.Dir(), Variant: v}
	r.WarmBytes[0] = drop(ranges)
	began := time.Now()
	r.Plain.Bytes = plain(ctx, ranges)
	r.Plain.Seconds = time.Since(began).Seconds()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	r.WarmBytes[1] = drop(ranges)
	if r.Start, err = start(ctx); err != nil {
		return nil, err
	}
	if s := r.Start; s.ReadSeconds > 0 && r.Plain.Bytes > 0 {
		r.ReadRatio = float64(s.ReadBytes) / s.ReadSeconds / (float64(r.Plain.Bytes) / r.Plain.Seconds)
	}
	return r, nil
}

// inUse opens an engine to ask it; it is closed again, so that no page is held by a mapping.
func inUse(cfg inference.Config, v inference.Variant, log zerolog.Logger) ([]readahead.Range, error) {
	e, err := inference.Open(cfg, log)
	if err != nil {
		return nil, err
	}
	ranges, err := e.WeightsInUse(v)
	return ranges, errors.Join(err, e.Close())
}

// drop empties the page cache of the files and returns what stayed.
func drop(ranges []readahead.Range) (warm int64) {
	var files []string
	for _, r := range ranges {
		if !slices.Contains(files, r.File) {
			files = append(files, r.File)
		}
	}
	for _, file := range files {
		_ = readahead.Drop(file) // the next line tells
		cached, err := readahead.Cached(file)
		if err != nil {
			return -1
		}
		warm += cached
	}
	return warm
}

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	s := r.Start
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, values ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, values...)) // Flush reports the error
	}
	row("weights", "%s in use by the %s, in %s", weights.Size(s.WeightsBytes), r.Variant, r.Weights)
	row("plain read", "%s in %.2f s: %s/s with %d readers", weights.Size(r.Plain.Bytes), r.Plain.Seconds, rate(r.Plain.Bytes, r.Plain.Seconds), readahead.Readers)
	row("read ahead", "%s in %.2f s: %s/s, %.2f of the plain read", weights.Size(s.ReadBytes), s.ReadSeconds, rate(s.ReadBytes, s.ReadSeconds), r.ReadRatio)
	for _, stage := range s.Stages {
		row(stage.Name, "%.2f s", stage.Seconds)
	}
	row("total", "%.2f s from the start of the process to the end of the first step", s.Seconds)
	row("peak memory", "%s, %.2f of the weights; %s of pages that are no file's", weights.Size(s.PeakBytes), s.PeakRatio, weights.Size(s.PeakOwnBytes))
	if warm := max(r.WarmBytes[0], r.WarmBytes[1]); warm > s.WeightsBytes/100 {
		row("note", "not a cold start: the page cache kept %s of the weights", weights.Size(warm))
	}
	if min(r.WarmBytes[0], r.WarmBytes[1]) < 0 {
		row("note", "this system does not tell what the page cache held")
	}
	return t.Flush()
}

func rate(bytes int64, seconds float64) string {
	return weights.Size(int64(float64(bytes) / max(seconds, 1e-9)))
}
