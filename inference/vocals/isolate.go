package vocals

import (
	"context"
	"fmt"
	"math"
)

// Network maps the spectrum of a mixture to that of its voices. It owns neither: the argument is read during the call
// only, and the result is not kept.
type Network func(ctx context.Context, spectrum []float32) ([]float32, error)

// Isolate returns the voices in the first samples of a recording at SampleRate, the mean of both channels. They are those of
// the whole recording, bit for bit, where left and right are its first Needed(heard) samples or all. The network runs once
// for every 4.4 s, on 5.9 s. progress is called with the segments that are done. When ctx ends, no further segment begins.
func Isolate(ctx context.Context, f Form, left, right []float32, heard int, net Network, progress func(done, total int)) ([]float32, error) {
	p, t := newPlan(f, len(left)), newTransform(f)
	heard = min(heard, p.samples)
	segments := p.segments(heard)
	voices := make([]float32, heard)
	progress(0, segments)
	for k := range segments {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("isolate vocals: %w", err)
		}
		spectrum, err := net(ctx, t.forward([2][]float32{p.cut(left, k), p.cut(right, k)}))
		if err != nil {
			return nil, err
		}
		if len(spectrum) != f.values() {
			return nil, fmt.Errorf("the separator left %d values, not %d", len(spectrum), f.values())
		}
		segment := t.inverse(spectrum)
		for i := max(k*p.step, p.trim); i < min(k*p.step+p.size, p.trim+heard); i++ {
			mean := (float64(segment[0][i-k*p.step]) + float64(segment[1][i-k*p.step])) / 2
			voices[i-p.trim] += float32(mean * p.window(k, i))
		}
		progress(k+1, segments)
	}
	for j := range voices {
		voices[j] *= f.compensation / float32(p.weight(j+p.trim))
	}
	return voices, nil
}

// Needed is how many samples of a recording its first heard depend on: the last segment that they lie in begins before
// their end.
func (f Form) Needed(heard int) int { return heard + f.segment() }

// plan says how a recording is cut. Positions count from the start of the recording with silence before it (half a
// window, so that no sample of it lies where segments fade in) and behind it.
type plan struct {
	samples int // of the recording
	trim    int // silent samples before it
	total   int // with the silence at both ends
	size    int // of a segment
	step    int // from one segment to the next: they overlap by a quarter
}

func newPlan(f Form, samples int) plan {
	trim, size := f.fft/2, f.segment()
	inner := size - 2*trim
	padding := inner + trim - samples%inner
	return plan{samples: samples, trim: trim, total: trim + samples + padding, size: size, step: size * 3 / 4}
}

// segments is how many begin before the end of what is heard. The reference also computes those that begin in the silence
// behind the recording, of which nothing is kept: twice the time for 4 s of sound.
func (p plan) segments(heard int) int { return (p.trim + heard + p.step - 1) / p.step }

// cut is segment k of a channel.
func (p plan) cut(channel []float32, k int) []float32 {
	segment := make([]float32, p.size)
	start := k*p.step - p.trim // in the recording
	copy(segment[max(0, -start):], channel[max(0, start):])
	return segment
}

// window is the weight of segment k at position i: NumPy's (symmetric) hanning over the part of the segment that lies
// within total.
func (p plan) window(k, i int) float64 {
	length := min(p.size, p.total-k*p.step)
	if i -= k * p.step; i >= length {
		return 0
	}
	return 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(length-1))
}

// weight is the sum of the windows at position i, which lies within the recording.
func (p plan) weight(i int) float64 {
	sum := 0.0
	for k := max(0, (i-p.size)/p.step); k <= i/p.step; k++ {
		sum += p.window(k, i)
	}
	return sum
}
