package plan

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
)

const gigabyte = 1_000_000_000

// card is a CUDA card with bf16; a gigabyte of it is the context's and the libraries'.
func card(gigabytes int64) Device {
	return Device{Free: gigabytes * gigabyte, Compute: 2, Text: 2, Base: CUDABase}
}

var sizes = []struct {
	name          string
	width, height int
}{{"480p", 832, 480}, {"720p", 1280, 720}}

// What this project measured on the CPU. A figure may be more than was measured, so that what is begun is not killed, but not so much
// that clips are refused that could be made.
func TestFiguresAreTheMeasuredOnes(t *testing.T) {
	m, cpu := Published("1.7B", 4), Device{Free: math.MaxInt64, Compute: 4, Text: 4, Base: CPUBase, Mapped: true}
	two := m
	two.Blocks = 2
	for _, test := range []struct {
		stage         string
		model         Model
		job           Job
		tokens        int64
		measured, off float64 // GB
	}{
		{StageDiT, two, Job{Width: 416, Height: 240, Frames: 9}, 1560, 0.285, 0.14},
		{StageDiT, two, Job{Width: 832, Height: 480, Frames: 5}, 4680, 0.568, 0.20},
		{StageDecode, m, Job{Width: 832, Height: 480, Frames: 5}, 4680, 5.97, 0.10},
	} {
		p, err := Make(test.model, test.job, cpu)
		if err != nil {
			t.Fatal(err)
		}
		if test.job.Tokens() != test.tokens {
			t.Errorf("%+v: %d tokens, want %d", test.job, test.job.Tokens(), test.tokens)
		}
		got := gb(peakOf(p, test.stage))
		if got < test.measured || got > test.measured+test.off {
			t.Errorf("%s, %d tokens: %.3f GB, measured are %.3f", test.stage, test.tokens, got, test.measured)
		}
		test.job.Copies = 1e9
		with, err := Make(test.model, test.job, cpu)
		if err != nil || (peakOf(with, test.stage)-peakOf(p, test.stage) == 1e9) != (test.stage == StageDiT) {
			t.Errorf("%s with 1 GB of copies: %d bytes instead of %d, error %v", test.stage, peakOf(with, test.stage), peakOf(p, test.stage), err)
		}
		t.Logf("%s, %d tokens: %.3f GB, measured are %.3f", test.stage, test.tokens, got, test.measured)
	}
	j := Job{Width: 832, Height: 480, Frames: 97}
	if got := gb(m.memories(j, OnDevice, decoderLatent+decoderUnits*m.VAEChannels)); math.Abs(got-3.78) > 0.01 {
		t.Errorf("the decoder's memories are %.2f GB, counted are 3.78", got)
	}
}

func peakOf(p *Plan, stage string) int64 {
	for _, s := range p.Stages {
		if s.Name == stage {
			return s.Peak
		}
	}
	return 0
}

// The table of cards. A change of the figures shows here. A word is how many networks stay loaded, /groups of a streamed
// transformer, h for memories on the host; no: refused.
func TestCards(t *testing.T) {
	for _, test := range []struct {
		variant, size string
		frames        int
		want          string // a word per card of 16, 24, 48, 80 and 141 GB
	}{
		{"1.7B", "480p", 97, "1 3 4 4 4"},
		{"1.7B", "480p", 161, "1 3 4 4 4"},
		{"1.7B", "720p", 97, "1 3 4 4 4"},
		{"1.7B", "720p", 161, "1 3 4 4 4"},
		{"17B", "480p", 97, "0/16 1/8 2 4 4"},
		{"17B", "480p", 161, "no 1/16 1/4 4 4"},
		{"17B", "720p", 97, "no 0/32 1/4 4 4"},
		{"17B", "720p", 161, "no no 1/8 4 4"},
	} {
		m := Published(test.variant, 2)
		var got []string
		for _, gigabytes := range []int64{16, 24, 48, 80, 141} {
			j := Job{Frames: test.frames}
			for _, s := range sizes {
				if s.name == test.size {
					j.Width, j.Height = s.width, s.height
				}
			}
			p, err := Make(m, j, card(gigabytes))
			got = append(got, word(p, err))
			if err == nil && p.Peak > gigabytes*gigabyte {
				t.Errorf("%s on %d GB: the plan takes %d bytes", test.variant, gigabytes, p.Peak)
			}
		}
		if line := strings.Join(got, " "); line != test.want {
			t.Errorf("%s %s %d frames:\n got %s\nwant %s", test.variant, test.size, test.frames, line, test.want)
		}
	}
}

// A text encoder that runs elsewhere, as beside a card without bf16, takes nothing of the card.
func TestTextElsewhere(t *testing.T) {
	m, j, d := Published("1.7B", 2), Job{Width: 832, Height: 480, Frames: 97}, card(16)
	with, err := Make(m, j, d)
	if err != nil {
		t.Fatal(err)
	}
	d.Text = 0
	without, err := Make(m, j, d)
	if err != nil {
		t.Fatal(err)
	}
	if word(with, nil) != "1" || word(without, nil) != "4" || without.Stages[0].Weights+without.Stages[0].Activations >= with.Stages[0].Weights {
		t.Errorf("with the text encoder %s (%+v), without %s (%+v)", word(with, nil), with.Stages[0], word(without, nil), without.Stages[0])
	}
}

// word is a plan in the table's form.
func word(p *Plan, err error) string {
	if err != nil {
		return "no"
	}
	w := fmt.Sprintf("%d", len(p.Resident))
	if p.Groups > 1 {
		w += fmt.Sprintf("/%d", p.Groups)
	}
	if p.Memories == OnHost {
		w += "h"
	}
	return w
}

// More memory never gives a worse plan, and once a clip fits, it fits in more.
func TestMoreMemoryIsNeverWorse(t *testing.T) {
	for _, variant := range []string{"1.7B", "17B"} {
		for _, s := range sizes {
			for _, frames := range []int{1, 97, 161} {
				best := math.MaxInt
				for gigabytes := int64(1); gigabytes <= 160; gigabytes++ {
					p, err := Make(Published(variant, 2), Job{Width: s.width, Height: s.height, Frames: frames}, card(gigabytes))
					switch {
					case err != nil && best < math.MaxInt:
						t.Errorf("%s %s %d: fits in less than %d GB, but not in them", variant, s.name, frames, gigabytes)
					case err == nil && p.Rank > best:
						t.Errorf("%s %s %d: %d GB give way %d, less gave way %d", variant, s.name, frames, gigabytes, p.Rank, best)
					case err == nil:
						best = p.Rank
					}
				}
				if best != 0 {
					t.Errorf("%s %s %d: the best way was never taken", variant, s.name, frames)
				}
			}
		}
	}
}

// Longer and larger clips and wider numbers never need less, in any stage of any way.
func TestMoreClipNeverNeedsLess(t *testing.T) {
	for _, variant := range []string{"1.7B", "17B"} {
		for _, mapped := range []bool{false, true} {
			d := Device{Compute: 2, Text: 2, Mapped: mapped}
			m := Published(variant, 2)
			for _, w := range ways(m, d) {
				for _, grow := range []func(*Job){
					func(j *Job) { j.Frames += 4 }, func(j *Job) { j.Width += 16 }, func(j *Job) { j.Height += 16 }, func(j *Job) { j.References++ },
				} {
					for j, n := (Job{Width: 64, Height: 64, Frames: 1, References: 1}), 0; n < 80; n++ {
						less := lay(m, j, d, w)
						grow(&j)
						more := lay(m, j, d, w)
						for i := range less.Stages {
							if more.Stages[i].Peak < less.Stages[i].Peak {
								t.Fatalf("%+v needs less in stage %s", j, more.Stages[i].Name)
							}
						}
					}
				}
			}
		}
	}
}

// Every network that a stage runs is there: resident, or loaded for it.
func TestStagesHaveTheirNetworks(t *testing.T) {
	m := Published("17B", 2)
	needs := map[string]Network{StageText: Text, StageAudio: Audio, StageImage: VAE, StageDiT: DiT, StageDecode: VAE}
	for _, w := range ways(m, card(80)) {
		for _, s := range lay(m, Job{Width: 832, Height: 480, Frames: 97}, card(80), w).Stages {
			there := append(append([]Network{}, w.resident...), s.Load...)
			found := false
			for _, n := range there {
				found = found || n == needs[s.Name]
			}
			if !found || len(s.Load) != len(s.Drop) {
				t.Errorf("way %+v, stage %s: has %v, drops %v", w, s.Name, there, s.Drop)
			}
			if s.Name == StageDiT && w.groups > 2 && s.Weights >= m.Bytes[DiT] {
				t.Errorf("%d groups hold %d bytes, all blocks are %d", w.groups, s.Weights, m.Bytes[DiT])
			}
		}
	}
}

func TestRefusalHasNumbersAndCures(t *testing.T) {
	for _, test := range []struct {
		name   string
		m      Model
		j      Job
		d      Device
		field  string
		pieces []string
	}{
		{"too long", Published("17B", 2), Job{Width: 1280, Height: 720, Frames: 161}, card(24), "frames",
			[]string{"161 frames of 1280x720 with the 17B need ", " GB at stage denoise, and 24.00 GB are free", "fewer frames", "a smaller size", "the variant 1.7B"}},
		{"decoder on a small machine", Published("1.7B", 4), Job{Width: 832, Height: 480, Frames: 5}, Device{Free: 5 * gigabyte, Compute: 4, Text: 4, Mapped: true}, "width",
			[]string{"GB at stage decode, and 5.00 GB are free; use a smaller size, or a machine"}},
		{"text encoder on a small card", Published("1.7B", 2), Job{Width: 256, Height: 256, Frames: 5}, card(8), "",
			[]string{"at stage text, and 8.00 GB are free; use a machine with more memory"}},
	} {
		p, err := Make(test.m, test.j, test.d)
		bad, ok := err.(*fault.Error) //nolint:errorlint // it is returned as it is
		if p != nil || !ok || bad.Code != CodeDoesNotFit || bad.Field != test.field || bad.Retryable {
			t.Errorf("%s: got %+v, %#v", test.name, p, err)
			continue
		}
		for _, piece := range test.pieces {
			if !strings.Contains(bad.Message, piece) {
				t.Errorf("%s: %q does not say %q", test.name, bad.Message, piece)
			}
		}
	}
}
