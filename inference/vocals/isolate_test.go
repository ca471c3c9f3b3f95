package vocals

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

var kim = published[0]

func silentProgress(int, int) {}

// identity hands the spectrum through.
func identity(_ context.Context, spectrum []float32) ([]float32, error) { return spectrum, nil }

// formula is the sound of testdata/mdx.py.
func formula(n, channel int) []float32 {
	wave := make([]float32, n)
	for i := range wave {
		k := uint64(i)
		wave[i] = float32((k*k*2654435761+k*(40503+7919*uint64(channel))+12345)%(1<<32)>>16)/65536 - 0.5
	}
	return wave
}

// toy is the network of testdata/mdx.py.
func toy(_ context.Context, in []float32) ([]float32, error) {
	out := make([]float32, len(in))
	plane := kim.Bins * kim.Columns
	for p := range Channels {
		for b := range kim.Bins {
			for c := range kim.Columns {
				i := b*kim.Columns + c
				v := in[p*plane+i]*(0.5+float32(b)/float32(kim.Bins))*(1-float32(c)/float32(2*kim.Columns)) + 0.25*in[(p+2)%Channels*plane+i]
				if b < 5 {
					v += float32(p + 1)
				}
				out[p*plane+i] = v
			}
		}
	}
	return out, nil
}

// The whole chain equals torch's and NumPy's, from one sample to five segments.
func TestEqualToTheReference(t *testing.T) {
	text, err := os.ReadFile("testdata/mdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Samples int
			RMS     float64
			At      []int
			Voices  []float64
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil || len(golden.Cases) == 0 {
		t.Fatal(len(golden.Cases), err)
	}
	for _, c := range golden.Cases {
		got, err := Isolate(t.Context(), kim, formula(c.Samples, 0), formula(c.Samples, 1), c.Samples, toy, silentProgress)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != c.Samples {
			t.Fatalf("%d samples, want %d", len(got), c.Samples)
		}
		largest := 0.0
		for i, at := range c.At {
			largest = max(largest, math.Abs(float64(got[at])-c.Voices[i]))
		}
		t.Logf("%7d samples: largest difference %.2g, rms %.6f", c.Samples, largest, rms(got))
		if largest > 2e-6 {
			t.Errorf("%d samples: largest difference %g", c.Samples, largest)
		}
		if math.Abs(rms(got)-c.RMS) > 1e-6*c.RMS {
			t.Errorf("%d samples: rms %g, want %g", c.Samples, rms(got), c.RMS)
		}
	}
}

// What an identity network is given comes out again, louder by the compensation.
func TestIdentityKeepsTheSound(t *testing.T) {
	for _, n := range []int{1764, 4 * SampleRate, 13*SampleRate + 7} {
		left, right := tones(n, 440, 3000), tones(n, 700, 12000)
		got, err := Isolate(t.Context(), kim, left, right, n, identity, silentProgress)
		if err != nil {
			t.Fatal(err)
		}
		// Hard edges hold every frequency, also those that a spectrum leaves out: look at what lies a window inside.
		edge := min(kim.fft, n/2-100)
		for i := edge; i < n-edge; i++ {
			want := kim.compensation * (left[i] + right[i]) / 2
			tolerance := 1e-4
			if n < kim.fft {
				tolerance = 0.05
			}
			if d := math.Abs(float64(got[i] - want)); d > tolerance {
				t.Fatalf("%d samples: sample %d is %g, want %g", n, i, got[i], want)
			}
		}
	}
}

// Frequencies that the network never sees are gone: above the highest bin, and below the lowest.
func TestOutOfBand(t *testing.T) {
	const n = 6 * SampleRate
	for frequency, want := range map[float64]float64{19000: 0, 17000: 0.5 / math.Sqrt2, 3: 0} {
		wave := tones(n, frequency)
		got, err := Isolate(t.Context(), kim, wave, wave, n, identity, silentProgress)
		if err != nil {
			t.Fatal(err)
		}
		want *= float64(kim.compensation)
		if got := rms(got[SampleRate : n-SampleRate]); math.Abs(got-want) > 2e-3 {
			t.Errorf("rms at %g Hz is %g, want %g", frequency, got, want)
		}
	}
}

// The planes of a spectrum are the real and the imaginary parts of the left, then of the right channel.
func TestPlanes(t *testing.T) {
	n := 2 * SampleRate
	left, right := tones(n, 500), tones(n, 5000)
	plane := kim.Bins * kim.Columns
	keepLeft := func(_ context.Context, s []float32) ([]float32, error) {
		return append(s[:2*plane:2*plane], make([]float32, 2*plane)...), nil
	}
	silence := func(_ context.Context, s []float32) ([]float32, error) { return make([]float32, len(s)), nil }
	exchange := func(_ context.Context, s []float32) ([]float32, error) {
		return slices.Concat(s[2*plane:], s[:2*plane]), nil
	}
	isolate := func(net Network) []float32 {
		t.Helper()
		got, err := Isolate(t.Context(), kim, left, right, n, net, silentProgress)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for i, v := range isolate(silence) {
		if v != 0 {
			t.Fatalf("silence: sample %d is %g", i, v)
		}
	}
	only := isolate(keepLeft)
	for i := kim.fft; i < n-kim.fft; i++ {
		if want := kim.compensation * left[i] / 2; math.Abs(float64(only[i]-want)) > 1e-4 {
			t.Fatalf("left alone: sample %d is %g, want %g", i, only[i], want)
		}
	}
	// Both channels go through the same arithmetic, so that their exchange changes no bit of the mean.
	if !slices.Equal(isolate(exchange), isolate(identity)) {
		t.Error("the mean depends on the order of the channels")
	}
}

// The network runs no more often than something of its result is kept, and progress counts each run.
func TestSegments(t *testing.T) {
	for samples, want := range map[int]int{1: 1, 4 * SampleRate: 1, 191999: 1, 192000: 1, 192001: 2, 10 * SampleRate: 3, 600 * SampleRate: 136} {
		if got := newPlan(kim, samples).segments(samples); got != want {
			t.Errorf("%d samples: %d segments, want %d", samples, got, want)
		}
	}
	wave, runs := make([]float32, 400000), 0
	var seen [][2]int
	net := func(_ context.Context, s []float32) ([]float32, error) { runs++; return s, nil }
	if _, err := Isolate(t.Context(), kim, wave, wave, len(wave), net, func(done, total int) { seen = append(seen, [2]int{done, total}) }); err != nil {
		t.Fatal(err)
	}
	if want := [][2]int{{0, 3}, {1, 3}, {2, 3}, {3, 3}}; runs != 3 || !slices.Equal(seen, want) {
		t.Errorf("%d runs, progress %v", runs, seen)
	}
}

// What is heard of a long recording is the beginning of the whole, bit for bit, wherever it ends, and neither the network nor
// the recording is looked at beyond what it depends on.
func TestHeardIsTheBeginningOfTheWhole(t *testing.T) {
	const n = 14*SampleRate + 7
	left, right := formula(n, 0), formula(n, 1)
	whole, err := Isolate(t.Context(), kim, left, right, n, toy, silentProgress)
	if err != nil {
		t.Fatal(err)
	}
	step := newPlan(kim, n).step
	for _, c := range []struct{ heard, runs int }{{step - kim.fft/2, 1}, {step - kim.fft/2 + 1, 2}, {n, 4}} {
		needed, runs := min(n, kim.Needed(c.heard)), 0
		count := func(ctx context.Context, s []float32) ([]float32, error) { runs++; return toy(ctx, s) }
		got, err := Isolate(t.Context(), kim, left[:needed], right[:needed], c.heard, count, silentProgress)
		if err != nil {
			t.Fatal(err)
		}
		if want := whole[:min(n, c.heard)]; !slices.Equal(want, got) {
			t.Errorf("the first %d samples are not those of the whole", c.heard)
		}
		if runs != c.runs {
			t.Errorf("%d samples: %d runs, want %d", c.heard, runs, c.runs)
		}
	}
}

// Every sample of a recording of any length has a weight to be divided by, and segments fit into it.
func TestEveryLengthIsCovered(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		p := newPlan(kim, 1+random.IntN(3_000_000))
		for _, i := range []int{p.trim, p.trim + p.samples - 1, p.trim + random.IntN(p.samples), (p.segments(p.samples)-1)*p.step - 1, (p.segments(p.samples) - 1) * p.step} {
			if i < p.trim || i >= p.trim+p.samples {
				continue
			}
			if w := p.weight(i); w < 1e-4 {
				t.Errorf("%+v: weight %g at %d", p, w, i)
			}
			sum := 0.0
			for k := range p.segments(p.samples) {
				if i >= k*p.step && i < k*p.step+p.size {
					sum += p.window(k, i)
				}
			}
			if sum != p.weight(i) {
				t.Errorf("%+v: weight %g at %d, but %g was added", p, p.weight(i), i, sum)
			}
		}
	}
}

func TestFaultsAndCancellation(t *testing.T) {
	wave, broken := make([]float32, 400000), errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	runs := 0
	_, err := Isolate(ctx, kim, wave, wave, len(wave), func(_ context.Context, s []float32) ([]float32, error) { runs++; cancel(); return s, nil }, silentProgress)
	if !errors.Is(err, context.Canceled) || runs != 1 {
		t.Errorf("cancelled: %v after %d runs", err, runs)
	}
	if _, err := Isolate(t.Context(), kim, wave, wave, len(wave), func(context.Context, []float32) ([]float32, error) { return nil, broken }, silentProgress); !errors.Is(err, broken) {
		t.Errorf("broken network: %v", err)
	}
	if _, err := Isolate(t.Context(), kim, wave, wave, len(wave), func(context.Context, []float32) ([]float32, error) { return wave, nil }, silentProgress); err == nil {
		t.Error("a spectrum of another size is taken")
	}
}

func TestFormOf(t *testing.T) {
	if f, ok := FormOf([]int64{1, 4, 3072, 256}); !ok || f.fft != 7680 || f.compensation != 1.009 {
		t.Errorf("%+v, %v", f, ok)
	}
	for _, shape := range [][]int64{nil, {1, 4, 2048, 256}, {1, 4, 3072, 512}, {2, 4, 3072, 256}, {1, 2, 3072, 256}, {4, 3072, 256}, {1, 4, 3072, 256, 1}} {
		if f, ok := FormOf(shape); ok {
			t.Errorf("%v is taken for %+v", shape, f)
		}
	}
}

func tones(n int, frequencies ...float64) []float32 {
	wave := make([]float32, n)
	for i := range wave {
		for _, f := range frequencies {
			wave[i] += float32(0.5 * math.Sin(2*math.Pi*f*float64(i)/SampleRate) / float64(len(frequencies)))
		}
	}
	return wave
}

func rms(wave []float32) float64 {
	sum := 0.0
	for _, v := range wave {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(wave)))
}

// BenchmarkSegment measures everything but the network: 5.9 s of sound.
func BenchmarkSegment(b *testing.B) {
	t := newTransform(kim)
	wave := formula(kim.segment(), 0)
	for b.Loop() {
		t.inverse(t.forward([2][]float32{wave, wave}))
	}
}
