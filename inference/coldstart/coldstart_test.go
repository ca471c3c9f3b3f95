package coldstart

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/readahead"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// The stages fill the time from start to first step without a gap, and all weights are read, plainly and ahead.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	if err := weights.WriteDemo(dir); err != nil {
		t.Fatal(err)
	}
	cfg := inference.Config{Weights: weights.Config{Root: dir}, ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}}
	report, err := Run(t.Context(), cfg, inference.Variant1B, zerolog.Nop(), func(ctx context.Context) (*Start, error) {
		return Measure(ctx, cfg, inference.Variant1B, Clip{32, 32, 5}, time.Now().Add(-time.Second), zerolog.Nop())
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	sum := 0.0
	for _, s := range report.Start.Stages {
		names = append(names, s.Name)
		sum += s.Seconds
	}
	want := []string{"process", "library", "open", "text", "audio", "image", "first pass", "other passes"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if s := report.Start; math.Abs(sum-s.Seconds) > 0.05 || s.Stages[0].Seconds < 1 {
		t.Errorf("stages take %.3f s of %.3f: %+v", sum, s.Seconds, s.Stages)
	}
	if s := report.Start; s.ReadBytes != s.WeightsBytes || s.WeightsBytes != report.Plain.Bytes || s.WeightsBytes == 0 || report.ReadRatio <= 0 {
		t.Errorf("%d bytes plainly, %d of %d ahead, ratio %v", report.Plain.Bytes, s.ReadBytes, s.WeightsBytes, report.ReadRatio)
	}
	if s := report.Start; s.PeakBytes <= 0 || s.PeakOwnBytes >= s.PeakBytes {
		t.Errorf("peak %d, own %d", s.PeakBytes, s.PeakOwnBytes)
	}
	var text bytes.Buffer
	if err := report.Write(&text); err != nil {
		t.Error(err)
	}
	for _, name := range append(want, "plain read", "read ahead", "total", "peak memory") {
		if !bytes.Contains(text.Bytes(), []byte("\n"+name+"  ")) {
			t.Errorf("the report does not name %q:\n%s", name, text.String())
		}
	}
}

func TestMissingWeights(t *testing.T) {
	cfg := inference.Config{Weights: weights.Config{Root: t.TempDir()}, ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}}
	if _, err := Run(t.Context(), cfg, inference.Variant1B, zerolog.Nop(), nil); fault.CodeOf(err) != "missing_weights" {
		t.Errorf("got %v", err)
	}
}

// The readers' shares are all of the bytes, each once.
func TestShares(t *testing.T) {
	ranges := []readahead.Range{{File: "a", Offset: 100, Bytes: 10}, {File: "b", Offset: 0, Bytes: 3}, {File: "b", Offset: 7, Bytes: 20}}
	for _, share := range []int64{1, 4, 11, 33, 100} {
		var all []readahead.Range
		for at := int64(0); at < 33; at += share {
			all = append(all, slice(ranges, at, at+share)...)
		}
		var joined []readahead.Range
		for _, r := range all {
			if n := len(joined) - 1; n >= 0 && joined[n].File == r.File && joined[n].Offset+joined[n].Bytes == r.Offset {
				joined[n].Bytes += r.Bytes
				continue
			}
			joined = append(joined, r)
		}
		if diff := cmp.Diff(ranges, joined); diff != "" {
			t.Errorf("share %d: %s", share, diff)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 3*readahead.Block+5), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := plain(t.Context(), []readahead.Range{{File: file, Offset: 5, Bytes: 3 * readahead.Block}}); n != 3*readahead.Block {
		t.Errorf("%d bytes were read", n)
	}
}
