package whisper

import (
	"fmt"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/google/go-cmp/cmp"
)

// The rule alone, on features that name their own frame.
func TestWindowsOfARamp(t *testing.T) {
	g := goldentest.Open(t, "audio_windows")
	var pairs [][2]int
	g.Setting(t, "T_frames", &pairs)
	if len(pairs) == 0 {
		t.Fatal("no pairs in the golden case")
	}
	for _, c := range pairs {
		ramp := make([]float32, c[0])
		for i := range ramp {
			ramp[i] = float32(i + 1)
		}
		windows, _ := Windows(ramp, 1, c[1], 0)
		g.Near(t, fmt.Sprintf("out.T%d_F%d", c[0], c[1]), windows)
	}
}

func TestWindowsEqualReference(t *testing.T) {
	for _, name := range []string{"audio_16k", "audio_short", "audio_44k_stereo", "audio_long"} {
		t.Run(name, func(t *testing.T) {
			g := goldentest.Open(t, name)
			var counts []int
			g.Setting(t, "frame_nums", &counts)
			if len(counts) == 0 {
				t.Fatal("no frame counts in the golden case")
			}
			for _, frames := range counts {
				windows, next := Windows(g.Floats(t, "out.merged"), int(g.Shape(t, "out.merged")[1]*g.Shape(t, "out.merged")[2]), frames, 0)
				stored := fmt.Sprintf("out.windows_%d", frames)
				if diff := cmp.Diff(g.Ints(t, stored+"_next"), []int64{int64(next)}); diff != "" {
					t.Errorf("%s_next (-want +got):\n%s", stored, diff)
				}
				if g.Index.Lookup(stored) != nil { // audio_long keeps no windows
					g.Near(t, stored, windows)
				} else if name != "audio_long" {
					t.Errorf("%s is not stored", stored)
				}
			}
		})
	}
}

// Reference frames hear nothing, and next ignores them.
func TestReferenceWindowsAreZero(t *testing.T) {
	features := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	plain, next := Windows(features, 1, 9, 0)
	padded, same := Windows(features, 1, 9, 2)
	if len(padded) != (LatentFrames(9)+2)*WindowFrames || next != 9 || same != next {
		t.Fatalf("%d values, next %d and %d", len(padded), next, same)
	}
	if diff := cmp.Diff(append(plain, make([]float32, 2*WindowFrames)...), padded); diff != "" {
		t.Error(diff)
	}
}

func TestLatentFrames(t *testing.T) {
	for frames, want := range map[int]int{1: 1, 4: 1, 5: 2, 9: 3, 16: 4, 97: 25, 161: 41} {
		if got := LatentFrames(frames); got != want {
			t.Errorf("%d frames: %d, want %d", frames, got, want)
		}
	}
}
