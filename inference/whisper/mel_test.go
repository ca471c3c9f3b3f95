package whisper

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/dsp/fourier"
)

// readWAV returns the samples of a 16-bit mono wav at 16 kHz.
func readWAV(t *testing.T, path string) []float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 12; at+8 <= len(raw); {
		size := int(binary.LittleEndian.Uint32(raw[at+4:]))
		body := raw[at+8 : at+8+size]
		switch string(raw[at : at+4]) {
		case "fmt ":
			channels, rate := binary.LittleEndian.Uint16(body[2:]), binary.LittleEndian.Uint32(body[4:])
			if bits := binary.LittleEndian.Uint16(body[14:]); channels != 1 || rate != SampleRate || bits != 16 {
				t.Fatalf("%s: %d channels, %d Hz, %d bits", path, channels, rate, bits)
			}
		case "data":
			pcm := make([]int16, size/2)
			if err := binary.Read(bytes.NewReader(body), binary.LittleEndian, pcm); err != nil {
				t.Fatal(err)
			}
			return fromPCM(pcm)
		}
		at += 8 + size + size%2
	}
	t.Fatalf("%s: no data", path)
	return nil
}

func fromPCM(pcm []int16) []float32 {
	wave := make([]float32, len(pcm))
	for i, s := range pcm {
		wave[i] = float32(s) / 32768
	}
	return wave
}

// formulaWave remakes the wave of the golden case audio_long.
func formulaWave(t *testing.T, g goldentest.Case) []float32 {
	t.Helper()
	var n int
	var want string
	g.Setting(t, "samples", &n)
	g.Setting(t, "sha256", &want)
	pcm := make([]int16, n)
	for i := range pcm {
		k := int64(i)
		a := ((k*k)/4096+3*k)%4001 - 2000
		b := ((k*1103515245+12345)%(1<<31))>>16 - 16384
		e, g := (k/1600*37)%101, (k/3200*53)%29
		pcm[i] = int16((a*e + b*g) >> 6)
	}
	h := sha256.New()
	if err := binary.Write(h, binary.LittleEndian, pcm); err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Fatalf("the formula's wave has SHA-256 %s, want %s", got, want)
	}
	return fromPCM(pcm)
}

// waves are the golden cases with a spectrogram, and where their wave comes from.
var waves = map[string]func(*testing.T, goldentest.Case) []float32{
	"audio_16k": func(t *testing.T, _ goldentest.Case) []float32 {
		return readWAV(t, goldentest.File(t, "audio/speech_16k.wav"))
	},
	"audio_short": func(t *testing.T, _ goldentest.Case) []float32 {
		return readWAV(t, goldentest.File(t, "audio/short_16k.wav"))
	},
	"audio_44k_stereo": func(t *testing.T, g goldentest.Case) []float32 { return g.Floats(t, "out.waveform16k") },
	"audio_long":       formulaWave,
}

func TestLogMelEqualsReference(t *testing.T) {
	for name, wave := range waves {
		t.Run(name, func(t *testing.T) {
			g := goldentest.Open(t, name)
			w := wave(t, g)
			mel, columns := LogMel(w)
			if want := (len(w) + SegmentSamples - 1) / SegmentSamples * SegmentColumns; columns != want || len(mel) != Mels*want {
				t.Fatalf("%d values in %d columns, want %d columns", len(mel), columns, want)
			}
			picked := g.Ints(t, "mid.mel_columns")
			if len(picked) == 0 {
				t.Fatal("no columns in the golden case")
			}
			var got []float32
			for m := range Mels {
				for _, c := range picked {
					got = append(got, mel[m*columns+int(c)])
				}
			}
			g.Near(t, "out.mel", got)
			if diff := cmp.Diff(g.Ints(t, "out.audio_len"), []int64{int64(AudioFrames(len(w)))}); diff != "" {
				t.Errorf("audio frames (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(g.Ints(t, "out.merged_T"), []int64{int64(MergedFrames(AudioFrames(len(w)), DefaultFPS))}); diff != "" {
				t.Errorf("merged frames (-want +got):\n%s", diff)
			}
		})
	}
}

// Every triangle is within 0 to 8 kHz, in order, holds at least one bin and has unit area; the scale inverts.
func TestMelFilters(t *testing.T) {
	filters := melFilters()
	if len(filters) != 128 || bins != 201 {
		t.Fatalf("%d filters over %d bins", len(filters), bins)
	}
	last := -1
	for m, f := range filters {
		if len(f.weights) == 0 || f.first < last || f.first+len(f.weights) > bins {
			t.Fatalf("filter %d has %d weights from bin %d, the one before starts at %d", m, len(f.weights), f.first, last)
		}
		last = f.first
		area := 0.0
		for _, w := range f.weights {
			area += w * SampleRate / fftLength
		}
		if len(f.weights) > 5 && math.Abs(area-1) > 0.05 { // narrow triangles are sampled too coarsely for an area
			t.Errorf("filter %d has area %v", m, area)
		}
	}
	for _, hertz := range []float64{0, 440, 999, 1000, 1001, 6400, 8000} {
		if back := melToHertz(hertzToMel(hertz)); math.Abs(back-hertz) > 1e-9 {
			t.Errorf("%v Hz comes back as %v", hertz, back)
		}
	}
	if m := hertzToMel(6400); math.Abs(m-42) > 1e-12 {
		t.Errorf("6.4 kHz is %v mel, want 42", m)
	}
}

// A pure tone on a bin's centre: at full scale its Hann-windowed power is (400/4)^2, in the filters above that bin only.
func TestLogMelOfATone(t *testing.T) {
	const bin = 50 // 2 kHz
	wave := make([]float32, SampleRate)
	for i := range wave {
		wave[i] = float32(math.Cos(2 * math.Pi * bin * float64(i) / fftLength))
	}
	logs := logMelSegment(wave)
	for m, f := range melFilters() {
		want := 0.0
		for i, w := range f.weights {
			switch f.first + i {
			case bin:
				want += w * 100 * 100
			case bin - 1, bin + 1: // a Hann window leaks half the amplitude into its neighbours
				want += w * 50 * 50
			}
		}
		if got := logs[50*Mels+m]; want > 0 && math.Abs(got-math.Log10(want)) > 1e-5 || want == 0 && got > -8 {
			t.Errorf("mel %d is %v, want log10(%v)", m, got, want)
		}
	}
}

// Silence, nothing, and one sample are valid waves.
func TestLogMelEdges(t *testing.T) {
	if mel, columns := LogMel(nil); len(mel) != 0 || columns != 0 {
		t.Errorf("an empty wave gives %d values, %d columns", len(mel), columns)
	}
	mel, columns := LogMel(make([]float32, 1))
	if columns != SegmentColumns {
		t.Fatalf("one sample gives %d columns", columns)
	}
	for i, v := range mel {
		if v != (logFloor+4)/4 {
			t.Fatalf("silence has %v at %d", v, i)
		}
	}
	for samples, want := range map[int]int{SegmentSamples: 3000, SegmentSamples + 1: 6000} {
		if _, columns := LogMel(make([]float32, samples)); columns != want {
			t.Errorf("%d samples give %d columns, want %d", samples, columns, want)
		}
	}
}

// Each segment is heard alone: its columns are those of its own samples.
func TestSegmentsAreIndependent(t *testing.T) {
	wave := make([]float32, SegmentSamples+5000)
	for i := range wave {
		wave[i] = float32(math.Sin(float64(i)*0.1) * (0.1 + 0.9*float64(i)/float64(len(wave))))
	}
	mel, columns := LogMel(wave)
	for s, part := range [][]float32{wave[:SegmentSamples], wave[SegmentSamples:]} {
		want, _ := LogMel(part)
		if !slices.Equal(want, Segment(mel, columns, s)) {
			t.Errorf("segment %d differs from its own samples' spectrogram", s)
		}
	}
}

// The result does not depend on how many workers share it.
func TestLogMelWorkers(t *testing.T) {
	wave := readWAV(t, goldentest.File(t, "audio/speech_16k.wav"))
	want, _ := LogMel(wave)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, n := range []int{1, 7} {
		runtime.GOMAXPROCS(n)
		if got, _ := LogMel(wave); !slices.Equal(want, got) {
			t.Errorf("%d workers give another spectrogram", n)
		}
	}
}

// Silence is not transformed, and has the floor's value to the last bit, as if it were.
func TestSilenceIsTheFloor(t *testing.T) {
	frame, spectrum, power := make([]float64, fftLength), make([]complex128, bins), make([]float64, bins)
	frame[7] = math.Copysign(0, -1)
	if !silent(frame) {
		t.Error("a frame of zeros is no silence")
	}
	fourier.NewFFT(fftLength).Coefficients(spectrum, frame)
	for k, x := range spectrum {
		power[k] = real(x)*real(x) + imag(x)*imag(x)
	}
	for m, f := range melFilters() {
		if f.log(power) != logFloor {
			t.Fatalf("filter %d of silence: %v", m, f.log(power))
		}
	}
	for i := range frame {
		frame[i] = 1e-300
		if silent(frame) {
			t.Errorf("sample %d is not looked at", i)
		}
		frame[i] = 0
	}
}

// A voice of four seconds, of which the rest of the segment is silence.
func BenchmarkLogMelShort(b *testing.B) {
	wave := make([]float32, 4*SampleRate)
	for i := range wave {
		wave[i] = float32(math.Sin(float64(i) * float64(i) * 1e-6))
	}
	for b.Loop() {
		LogMel(wave)
	}
}

func BenchmarkLogMel(b *testing.B) {
	wave := make([]float32, SegmentSamples)
	for i := range wave {
		wave[i] = float32(math.Sin(float64(i) * float64(i) * 1e-6))
	}
	for b.Loop() {
		LogMel(wave)
	}
}
