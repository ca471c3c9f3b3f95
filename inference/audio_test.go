package inference

import (
	"math"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/whisper"
)

// Of a long track only the segments are encoded that the clip hears, and its windows are those of the whole track, bit for bit.
func TestOnlyWhatIsHeardIsEncoded(t *testing.T) {
	e := openEngine(t)
	m, err := e.Models(Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	wave := make([]float32, 70*whisper.SampleRate)
	for i := range wave {
		wave[i] = float32(0.3 * math.Sin(float64(i)*(0.05+float64(i)*1e-7)))
	}
	segments := 0
	count := func(done, total int) { segments = max(segments, total) }
	whole, err := m.Audio.Encode(t.Context(), wave, 25, count)
	if err != nil {
		t.Fatal(err)
	}
	if segments != 3 {
		t.Fatalf("%d segments in 70 s", segments)
	}
	row := whisper.Bands * whole.Dim
	for _, c := range []struct{ frames, segments int }{{1, 1}, {97, 1}, {745, 1}, {753, 2}, {1601, 3}, {4001, 3}} {
		segments = 0
		heard, err := m.Audio.EncodeHeard(t.Context(), wave, 25, c.frames, count)
		if err != nil {
			t.Fatal(err)
		}
		if segments != c.segments || heard.Frames > c.frames+2 {
			t.Errorf("%d frames: %d segments were encoded, want %d; %d frames heard", c.frames, segments, c.segments, heard.Frames)
		}
		want, _ := whisper.Windows(whole.Data, row, c.frames, 1)
		got, _ := whisper.Windows(heard.Data, row, c.frames, 1)
		if !slices.Equal(want, got) {
			t.Errorf("%d frames hear something else than in the whole track", c.frames)
		}
	}
}
