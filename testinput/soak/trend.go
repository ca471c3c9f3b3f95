package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// trend is how a quantity goes with the number of jobs over the last quarter of a run, at rest.
type trend struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Slope   float64 `json:"slope_per_1000_jobs"` // least squares
	Low     float64 `json:"slope_low"`           // of the 99 % interval
	High    float64 `json:"slope_high"`
	First   float64 `json:"mean_third_quarter"`
	Last    float64 `json:"mean_last_quarter"`
	Samples int     `json:"samples"`
	Verdict verdict `json:"verdict"`
}

type verdict string

const (
	flat   verdict = "flat"
	grows  verdict = "grows"
	unsure verdict = "too few samples" // the run is too short to tell
)

const (
	confidence = 0.99
	resamples  = 4000
	fewest     = 12 // samples in the last quarter
)

// method is how trends are judged, for readers of the report.
const method = "Least-squares slope over the samples at rest in the last quarter of the jobs. Its 99 % interval is from a block bootstrap: " +
	"4000 times, blocks of about the square root of n neighbouring residuals are drawn with replacement and laid over the fitted line, and the " +
	"slope is fitted again. A quantity grows if the whole interval is above zero and, where it is a count, the line rises by 2 or more in that quarter: " +
	"threads, for one, are kept, so that their number now and then steps up to a new most."

// trendOf fits a line through y over x, which ascends.
func trendOf(x, y []float64) (slope, low, high float64) {
	slope, at := line(x, y)
	n := len(x)
	residuals := make([]float64, n)
	spread := math.Sqrt(float64(n) / float64(n-2)) // a fit takes two degrees of freedom from them
	for i := range x {
		residuals[i] = (y[i] - at(x[i])) * spread
	}
	block := int(math.Round(math.Sqrt(float64(n))))
	r := rand.New(rand.NewPCG(7, uint64(n)))
	slopes := make([]float64, resamples)
	drawn := make([]float64, n)
	for k := range slopes {
		for i := 0; i < n; i += block {
			from := r.IntN(n - block + 1)
			for o := 0; o < block && i+o < n; o++ {
				drawn[i+o] = at(x[i+o]) + residuals[from+o]
			}
		}
		slopes[k], _ = line(x, drawn)
	}
	slices.Sort(slopes)
	tail := int((1 - confidence) / 2 * resamples)
	return slope, slopes[tail], slopes[resamples-1-tail]
}

// line is the least-squares line.
func line(x, y []float64) (slope float64, at func(float64) float64) {
	mx, my := mean(x), mean(y)
	var xy, xx float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
	}
	slope = xy / xx
	return slope, func(v float64) float64 { return my + slope*(v-mx) }
}

// mean of nothing is 0.
func mean(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// quantity is one of a sample's numbers.
type quantity struct {
	name, unit string
	of         func(sample) float64
	bounded    string // it fills up to a bound that it has by design, which is told
}

const mb = 1e6

var quantities = []quantity{
	{"memory, anonymous", "MB", func(s sample) float64 { return float64(s.Anonymous) / mb }, ""},
	{"memory, resident", "MB", func(s sample) float64 { return float64(s.RSS) / mb }, ""},
	{"Go heap", "MB", func(s sample) float64 { return float64(s.Heap) / mb }, ""},
	{"goroutines", "", func(s sample) float64 { return float64(s.Goroutines) }, ""},
	{"threads", "", func(s sample) float64 { return float64(s.Threads) }, ""},
	{"descriptors", "", func(s sample) float64 { return float64(s.Descriptors) }, ""},
	{"child processes", "", func(s sample) float64 { return float64(s.Children) }, ""},
	{"temporary files", "", func(s sample) float64 { return float64(s.TempFiles) }, ""},
	{"unexpected objects in the bucket", "", func(s sample) float64 { return float64(s.Objects) }, ""},
	{"prompt cache on disk", "MB", func(s sample) float64 { return float64(s.Prompts) / mb }, "4 MiB by HUMO_CACHE_MB"},
	{"results remembered", "", func(s sample) float64 { return float64(s.Remembered) }, "10,000, with which the worker begins"},
}

// trends judges every quantity over the last quarter of a run.
func trends(samples []sample, jobs int) []trend {
	var all []trend
	for _, q := range quantities {
		t := trend{Name: q.name, Unit: q.unit, Verdict: unsure}
		var x, y, before []float64
		for _, s := range samples {
			switch v := q.of(s); {
			case !s.Rest:
			case s.Jobs > jobs*3/4:
				x, y = append(x, float64(s.Jobs)), append(y, v)
			case s.Jobs > jobs/2:
				before = append(before, v)
			}
		}
		if t.Samples = len(x); t.Samples >= fewest {
			t.First, t.Last = mean(before), mean(y)
			slope, low, high := trendOf(x, y)
			t.Slope, t.Low, t.High, t.Verdict = 1000*slope, 1000*low, 1000*high, flat
			counted := q.unit == ""
			if rise := slope * float64(jobs) / 4; low > 1e-12 && (!counted || rise >= 2) {
				t.Verdict = grows
			}
		}
		all = append(all, t)
	}
	return all
}
