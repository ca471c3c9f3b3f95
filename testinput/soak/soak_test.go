package main

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/humo-worker/humo-worker/handler/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"humo-worker": func() { os.Exit(cli.Main("test")) }})
}

// A short run: every job ends as it must, and at rest nothing is left. What grows shows only in long runs.
func TestSoak(t *testing.T) {
	o := options{jobs: 30, seed: 213, concurrency: 2, rest: 12, binary: "humo-worker", library: os.Getenv("ONNXRUNTIME_LIB"), path: os.Getenv("PATH"),
		voice: "../voice.wav", tell: t.Logf}
	r, err := soak(t.Context(), t, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
	rests := 0
	for _, s := range r.Samples {
		if !s.Rest {
			continue
		}
		rests++
		if s.TempFiles > 0 || s.Children > 0 || s.Objects > 0 {
			t.Errorf("after %d jobs there are %d files, %d processes, %d objects (%s) that nobody needs", s.Jobs, s.TempFiles, s.Children, s.Objects, s.Unexpected)
		}
		if s.Goroutines == 0 || s.Descriptors == 0 || s.Anonymous == 0 {
			t.Errorf("a sample is incomplete: %+v", s)
		}
	}
	if r.Jobs != o.jobs || rests < 3 || r.Counts[inTime] == 0 || r.Counts[onceMore] == 0 {
		t.Errorf("%d jobs, %d rests, %d cancelled, %d given out again", r.Jobs, rests, r.Counts[inTime], r.Counts[onceMore])
	}
	if err := r.draw(filepath.Join(t.TempDir(), "soak.png")); err != nil {
		t.Error(err)
	}
	t.Logf("%v", r.Counts)
}

// What grows is told from what does not, at the rates that a run must see, in noise that is alike for neighbours.
func TestTrend(t *testing.T) {
	grown, seen := 0, 0
	const series = 60
	for seed := range uint64(series) {
		r := rand.New(rand.NewPCG(seed, 1))
		var samples, leaking []sample
		drift := 0.0
		for i := 1; i <= 200; i++ {
			drift = 0.6*drift + r.NormFloat64()
			noisy := 150e6 + 2e6*drift
			samples = append(samples, sample{Jobs: 10 * i, Rest: true, Anonymous: int64(noisy)})
			leaking = append(leaking, sample{Jobs: 10 * i, Rest: true, Anonymous: int64(noisy) + int64(i)*10*20_000}) // 20 kB a job
		}
		if trends(samples, 2000)[0].Verdict == grows {
			grown++
		}
		if trends(leaking, 2000)[0].Verdict == grows {
			seen++
		}
	}
	if grown > series/12 {
		t.Errorf("%d of %d series that do not grow are said to", grown, series)
	}
	if seen < series*9/10 {
		t.Errorf("%d of %d leaks were seen", seen, series)
	}
	if slope, low, high := trendOf([]float64{1, 2, 3, 4}, []float64{7, 7, 7, 7}); slope != 0 || math.Abs(low)+math.Abs(high) > 1e-9 {
		t.Errorf("a constant goes by %g (%g to %g)", slope, low, high)
	}
	if got := trends(nil, 10)[0].Verdict; got != unsure {
		t.Errorf("nothing is %s", got)
	}
}
