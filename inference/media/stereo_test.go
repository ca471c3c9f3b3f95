package media

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// stereo decodes the first samples of a file.
func stereo(ctx context.Context, path string, first int) (left, right []float32, err error) {
	a, err := OpenAudio(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	return a.Stereo(ctx, first)
}

// At 44.1 kHz nothing is left to do but to divide by 32768 and to tell the channels apart.
func TestStereo(t *testing.T) {
	sample := func(i, c int) int16 { return int16((i*37+c*1009)%60001 - 30000) }
	for _, channels := range []int{1, 2, 3, 6} {
		left, right, err := stereo(t.Context(), write(t, "n.wav", wav(SeparationRate, channels, 2000, sample)), 5000)
		if err != nil || len(left) != 2000 || len(right) != 2000 {
			t.Fatalf("%d channels: %d and %d samples, %v", channels, len(left), len(right), err)
		}
		for i := range left {
			sum := 0.0
			for c := range channels {
				sum += float64(sample(i, c)) / 32768
			}
			wantLeft, wantRight := sum/float64(channels), sum/float64(channels)
			if channels == 2 {
				wantLeft, wantRight = float64(sample(i, 0))/32768, float64(sample(i, 1))/32768
			}
			if math.Abs(wantLeft-float64(left[i])) > 3e-7 || math.Abs(wantRight-float64(right[i])) > 3e-7 {
				t.Errorf("%d channels: sample %d is %g, %g; want %g, %g", channels, i, left[i], right[i], wantLeft, wantRight)
				break
			}
		}
	}
}

// The first samples are those of the whole track, bit for bit, at any rate of the file; decoding ends with them.
func TestStereoBeginning(t *testing.T) {
	for _, rate := range []int{8000, 44100, 48000} {
		sample := func(i, c int) int16 { return int16((i*i/7+i*37+c*1009)%60001 - 30000) }
		path := write(t, "x.wav", wav(rate, 2, 4*rate, sample))
		left, right, err := stereo(t.Context(), path, 1<<30)
		if err != nil || len(left) != 4*SeparationRate {
			t.Fatalf("%d Hz: %d samples, %v", rate, len(left), err)
		}
		for _, first := range []int{len(left) + 1, len(left), len(left) - 1, SeparationRate + 7, 1764} {
			l, r, err := stereo(t.Context(), path, first)
			if want := min(first, len(left)); err != nil || !slices.Equal(l, left[:want]) || !slices.Equal(r, right[:want]) {
				t.Errorf("%d Hz: the first %d samples are others, error %v", rate, first, err)
			}
		}
	}
}

func TestStereoLimits(t *testing.T) {
	silence := func(int, int) int16 { return 0 }
	if _, _, err := stereo(t.Context(), write(t, "x.wav", wav(44100, 2, 1764, silence)), 44100); err != nil {
		t.Error(err)
	}
	_, _, err := stereo(t.Context(), write(t, "x.wav", wav(44100, 2, 1763, silence)), 44100)
	wantFault(t, err, "audio_empty", "audio")
	_, _, err = stereo(t.Context(), write(t, "x.wav", []byte("#EXTM3U\nfile:///etc/passwd\n")), 44100)
	wantFault(t, err, "audio_undecodable", "audio")
}

// Through 44.1 kHz and back, the sound is the one that DecodeAudio gives: as long, and at the same places.
func TestResampleReturnsToDecodeAudio(t *testing.T) {
	for _, c := range []struct{ rate, frames int }{{16000, 20000}, {44100, 50001}, {48000, 48001}, {8000, 1234}, {22050, 33333}} {
		tone := func(i, channel int) int16 {
			return int16(12000 * math.Sin(2*math.Pi*float64(440*(channel+1))*float64(i)/float64(c.rate)))
		}
		path := write(t, "x.wav", wav(c.rate, 2, c.frames, tone))
		want, err := DecodeAudio(t.Context(), path, 60)
		if err != nil {
			t.Fatal(err)
		}
		left, right, err := stereo(t.Context(), path, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		mono := make([]float32, len(left))
		for i := range mono {
			mono[i] = (left[i] + right[i]) / 2
		}
		got, err := Resample(t.Context(), mono, SeparationRate, len(want))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%v: %d samples, want %d", c, len(got), len(want))
		}
		largest := 0.0
		for i := 200; i < len(want)-200; i++ {
			largest = max(largest, math.Abs(float64(got[i]-want[i])))
		}
		if largest > 1e-4 {
			t.Errorf("%v: largest difference %g", c, largest)
		}
	}
}

func TestResampleCancelled(t *testing.T) {
	reason := errors.New("job cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	wave := make([]float32, 300*SeparationRate)
	time.AfterFunc(20*time.Millisecond, func() { cancel(reason) })
	start := time.Now()
	if _, err := Resample(ctx, wave, SeparationRate, 300*SampleRate); !errors.Is(err, reason) {
		t.Errorf("error is %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	t.Setenv("PATH", filepath.Join(t.TempDir(), "empty"))
	_, err := Resample(t.Context(), wave[:4410], SeparationRate, 1600)
	wantFault(t, err, "ffmpeg_missing", "")
}
