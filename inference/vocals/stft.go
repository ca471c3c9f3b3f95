package vocals

import (
	"math"
	"sync"

	"gonum.org/v1/gonum/dsp/fourier"
)

// transform goes between the two channels of a segment and its spectrum: torch.stft and torch.istft with a periodic Hann
// window, centred, the ends reflected.
type transform struct {
	Form
	window   []float64 // [fft]
	envelope []float64 // [segment]: the sum of the squared windows over each sample
}

func newTransform(f Form) *transform {
	t := &transform{Form: f, window: make([]float64, f.fft)}
	for i := range t.window {
		t.window[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(f.fft))
	}
	sum := make([]float64, f.segment()+f.fft)
	for c := range f.Columns {
		for i, w := range t.window {
			sum[c*hop+i] += w * w
		}
	}
	t.envelope = sum[f.fft/2 : f.fft/2+f.segment()]
	return t
}

// forward is the spectrum of a segment. The lowest bins are left out.
func (t *transform) forward(segment [2][]float32) []float32 {
	spectrum := make([]float32, t.values())
	t.eachChannel(spectrum, func(channel int, re, im []float32) {
		padded := t.reflect(segment[channel])
		fft := fourier.NewFFT(t.fft) // has scratch memory of its own, so one for each goroutine
		frame, bins := make([]float64, t.fft), make([]complex128, t.fft/2+1)
		for c := range t.Columns {
			for i, w := range t.window {
				frame[i] = w * padded[c*hop+i]
			}
			fft.Coefficients(bins, frame)
			for b := deafBins; b < t.Bins; b++ {
				re[b*t.Columns+c], im[b*t.Columns+c] = float32(real(bins[b])), float32(imag(bins[b]))
			}
		}
	})
	return spectrum
}

// inverse is the segment of a spectrum; the bins above the spectrum's are silent.
func (t *transform) inverse(spectrum []float32) (segment [2][]float32) {
	t.eachChannel(spectrum, func(channel int, re, im []float32) {
		sum := make([]float64, t.segment()+t.fft)
		fft := fourier.NewFFT(t.fft)
		frame, bins := make([]float64, t.fft), make([]complex128, t.fft/2+1)
		for c := range t.Columns {
			for b := range t.Bins {
				bins[b] = complex(float64(re[b*t.Columns+c]), float64(im[b*t.Columns+c]))
			}
			fft.Sequence(frame, bins) // times fft
			for i, w := range t.window {
				sum[c*hop+i] += w * frame[i] / float64(t.fft)
			}
		}
		segment[channel] = make([]float32, t.segment())
		for i, e := range t.envelope {
			segment[channel][i] = float32(sum[t.fft/2+i] / e)
		}
	})
	return segment
}

// eachChannel works on both channels at the same time, with views of their parts of the spectrum.
func (t *transform) eachChannel(spectrum []float32, work func(channel int, re, im []float32)) {
	plane := t.Bins * t.Columns
	var group sync.WaitGroup
	for channel := range 2 {
		re, im := spectrum[2*channel*plane:][:plane], spectrum[(2*channel+1)*plane:][:plane]
		group.Go(func() { work(channel, re, im) })
	}
	group.Wait()
}

// reflect extends a segment by half a window at both ends with its mirror image, the end samples themselves not repeated.
func (t *transform) reflect(segment []float32) []float64 {
	half := t.fft / 2
	p := make([]float64, len(segment)+t.fft)
	for i, v := range segment {
		p[half+i] = float64(v)
	}
	last := half + len(segment) - 1
	for i := 1; i <= half; i++ {
		p[half-i], p[last+i] = p[half+i], p[last-i]
	}
	return p
}
