package whisper

import (
	"math"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Sizes of Whisper large-v3's front end. Spec §4.2.
const (
	SampleRate = 16000
	Mels       = 128

	SegmentSamples = 30 * SampleRate            // the encoder hears 30 s at a time
	SegmentColumns = SegmentSamples / hopLength // 3000

	hopLength = 160
	fftLength = 400
	bins      = fftLength/2 + 1
)

// Log10 of the smallest power that is told apart from silence, and the dynamic range below a segment's loudest value.
const (
	logFloor     = -10.0
	dynamicRange = 8.0
)

// LogMel returns Whisper's log-mel spectrogram of a 16 kHz mono wave: [Mels, columns] row-major, SegmentColumns for
// every started segment of SegmentSamples. Each segment is padded with silence and normalised to its own maximum, as
// the reference does, so the level may jump between segments. An empty wave gives no columns.
func LogMel(wave []float32) (mel []float32, columns int) {
	segments := (len(wave) + SegmentSamples - 1) / SegmentSamples
	columns = segments * SegmentColumns
	mel = make([]float32, Mels*columns)
	for s := range segments {
		logs := logMelSegment(wave[s*SegmentSamples : min(len(wave), (s+1)*SegmentSamples)])
		loudest := math.Inf(-1)
		for _, v := range logs {
			loudest = max(loudest, v)
		}
		for c := range SegmentColumns {
			for m := range Mels {
				v := max(logs[c*Mels+m], loudest-dynamicRange)
				mel[m*columns+s*SegmentColumns+c] = float32((v + 4) / 4)
			}
		}
	}
	return mel, columns
}

// Segment copies segment s of a spectrogram, [Mels, SegmentColumns] row-major: the input of one run of the encoder.
func Segment(mel []float32, columns, s int) []float32 {
	out := make([]float32, 0, Mels*SegmentColumns)
	for m := range Mels {
		start := m*columns + s*SegmentColumns
		out = append(out, mel[start:start+SegmentColumns]...)
	}
	return out
}

// logMelSegment is log10 of the mel power of up to SegmentSamples samples, [SegmentColumns, Mels]: a centred STFT
// with a periodic Hann window over the silence-padded segment, reflected at both ends. The frame after the last full
// hop, which an STFT of this length also has, is not part of it. All in float64.
func logMelSegment(wave []float32) []float64 {
	padded := reflectPad(wave)
	window := hann()
	filters := melFilters()
	logs := make([]float64, SegmentColumns*Mels)

	workers := min(runtime.GOMAXPROCS(0), SegmentColumns)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			fft := fourier.NewFFT(fftLength) // has scratch memory of its own, so one for each worker
			frame, spectrum, power := make([]float64, fftLength), make([]complex128, bins), make([]float64, bins)
			for c := w * SegmentColumns / workers; c < (w+1)*SegmentColumns/workers; c++ {
				if silent(padded[c*hopLength:][:fftLength]) { // what pads a short voice: no power at all, without transforming it
					for m := range filters {
						logs[c*Mels+m] = logFloor
					}
					continue
				}
				for i := range frame {
					frame[i] = window[i] * padded[c*hopLength+i]
				}
				fft.Coefficients(spectrum, frame)
				for k, x := range spectrum {
					power[k] = real(x)*real(x) + imag(x)*imag(x)
				}
				for m, f := range filters {
					logs[c*Mels+m] = f.log(power)
				}
			}
		})
	}
	group.Wait()
	return logs
}

func silent(frame []float64) bool {
	for _, v := range frame {
		if v != 0 {
			return false
		}
	}
	return true
}

// reflectPad pads a segment with silence to SegmentSamples, then by half a frame at both ends with its mirror image,
// the end samples themselves not repeated.
func reflectPad(wave []float32) []float64 {
	const half = fftLength / 2
	p := make([]float64, SegmentSamples+2*half)
	for i, v := range wave {
		p[half+i] = float64(v)
	}
	last := half + SegmentSamples - 1
	for i := 1; i <= half; i++ {
		p[half-i] = p[half+i]
		p[last+i] = p[last-i]
	}
	return p
}

// hann is the periodic Hann window.
func hann() []float64 {
	w := make([]float64, fftLength)
	for i := range w {
		w[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/fftLength)
	}
	return w
}
