package whisper

import "math"

// melFilter is one triangle of the filter bank: weights for the bins from first on; every other bin weighs nothing.
type melFilter struct {
	first   int
	weights []float64
}

// log is log10 of the filtered power, never below logFloor.
func (f melFilter) log(power []float64) float64 {
	sum := 0.0
	for i, w := range f.weights {
		sum += w * power[f.first+i]
	}
	return max(logFloor, math.Log10(sum)) // log10(0) is -Inf
}

// melFilters is the slaney filter bank that Whisper was trained with: Mels triangles, equally spaced on the mel scale
// from 0 Hz to half the sample rate, each of unit area in Hz (slaney's norm).
func melFilters() []melFilter {
	corners := make([]float64, Mels+2) // Hz
	top := hertzToMel(SampleRate / 2)
	for i := range corners {
		corners[i] = melToHertz(top * float64(i) / float64(Mels+1))
	}
	filters := make([]melFilter, Mels)
	for m := range filters {
		low, mid, high := corners[m], corners[m+1], corners[m+2]
		f := &filters[m]
		for k := range bins {
			hertz := float64(k) * SampleRate / fftLength
			w := min((hertz-low)/(mid-low), (high-hertz)/(high-mid)) * 2 / (high - low)
			if w <= 0 {
				continue
			}
			if f.weights == nil {
				f.first = k
			}
			f.weights = append(f.weights, w)
		}
	}
	return filters
}

// Slaney's mel scale: linear up to 1 kHz (15 mel), logarithmic above, with 27 mel from 1 to 6.4 kHz.
const (
	linearHertz = 1000.0
	linearMels  = 15.0
)

var logStep = math.Log(6.4) / 27

func hertzToMel(hertz float64) float64 {
	if hertz < linearHertz {
		return hertz * linearMels / linearHertz
	}
	return linearMels + math.Log(hertz/linearHertz)/logStep
}

func melToHertz(mel float64) float64 {
	if mel < linearMels {
		return mel * linearHertz / linearMels
	}
	return linearHertz * math.Exp(logStep*(mel-linearMels))
}
