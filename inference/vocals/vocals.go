// Package vocals takes the voices out of a recording with an MDX-Net (Kim et al., "KUIELab-MDX-Net", 2021): segments
// of sound become spectra, a network maps the spectrum of the mixture to that of the voices, and the segments are
// faded into each other. The arithmetic is that of python-audio-separator 0.24.1 with its default settings (UVR's
// "lib_v5"), for which HuMo's preprocessing has a place; only the mean of the two channels is kept, because that is what
// the audio encoder hears, and the peak is not normalised, because the encoder's features depend on the level.
//
// It must not know where the network comes from or what runs it.
package vocals

// SampleRate is the rate that the networks were trained at, in Hz.
const SampleRate = 44100

// Channels of a spectrum: the real and imaginary parts of the left, then of the right channel.
const Channels = 4

const (
	hop = 1024 // samples between the columns of a spectrum

	// deafBins are the lowest bins, below 17 Hz, that the network is never shown.
	deafBins = 3
)

// Form is what the spectra of one network look like. A spectrum is [Channels, Bins, Columns], row-major.
type Form struct {
	Bins    int // of the fft/2+1, the lowest; what lies above (17.6 kHz) is lost
	Columns int // the network's dim_t

	fft          int     // samples under the window of a column
	compensation float32 // by which the network's voices are too quiet
}

// published are the forms of known networks. Only Bins and Columns can be read off a file, and they do not tell the rest:
// other models of UVR have 2048 bins of 4096 to 8192 samples, and 3072 of 6144. So there is one row for each model
// that was checked, with the values of UVR's table of models, and nothing is guessed.
var published = []Form{
	{Bins: 3072, Columns: 256, fft: 7680, compensation: 1.009}, // Kim_Vocal_2, MD5 of the last 10 MB 970b3f9492014d18fefeedfe4773cb42
}

// FormOf finds the form of the network whose input has that shape, [1, Channels, Bins, Columns].
func FormOf(shape []int64) (f Form, known bool) {
	if len(shape) != 4 || shape[0] != 1 || shape[1] != Channels {
		return Form{}, false
	}
	for _, f := range published {
		if shape[2] == int64(f.Bins) && shape[3] == int64(f.Columns) {
			return f, true
		}
	}
	return Form{}, false
}

// segment is how many samples a spectrum stands for: 5.9 s.
func (f Form) segment() int { return hop * (f.Columns - 1) }

// values is the length of a spectrum.
func (f Form) values() int { return Channels * f.Bins * f.Columns }
