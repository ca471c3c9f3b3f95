package inference

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/humo-worker/humo-worker/inference/golden/goldentest"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/wan"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// goldenWeights hold F32, F16 and BF16 tensors in all published formats.
const goldenWeights = "../testdata/golden/dev/weights"

func openEngine(t *testing.T) *Engine {
	t.Helper()
	e, err := Open(Config{Weights: weights.Config{Root: goldenWeights}, ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func spec(t *testing.T) Spec {
	t.Helper()
	return Spec{Variant: Variant1B, Mode: TIA, Prompt: "a woman speaks", AudioPath: goldentest.File(t, "audio/speech_16k.wav"),
		ImagePaths: []string{goldentest.File(t, "images/tall.png")}, Frames: 9, Width: 48, Height: 32, FPS: 25, Steps: 2, Shift: 5, Seed: 7,
		ScaleT: 7.5, ScaleA: 7.5, ScaleI: 4, OutputPath: filepath.Join(t.TempDir(), "video.mp4")}
}

func ignore(Progress) {}

// The observer sees every stage once, in order, and counts that grow to their totals: passes × steps while denoising.
func TestGenerateReportsProgress(t *testing.T) {
	e, s := openEngine(t), spec(t)
	var stages []Stage
	var last Progress
	clip, err := e.Generate(t.Context(), s, func(p Progress) {
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			if last.Step != last.Steps {
				t.Errorf("%s ended at %d of %d", last.Stage, last.Step, last.Steps)
			}
			stages = append(stages, p.Stage)
		} else if p.Step < last.Step {
			t.Errorf("%s went from %d to %d", p.Stage, last.Step, p.Step)
		}
		if p.Stage == StageDenoise && p.Steps != 0 && p.Steps != 4*s.Steps {
			t.Errorf("denoise has %d steps, want 4 passes x %d", p.Steps, s.Steps)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Stage{StageText, StageAudio, StageImage, StageDenoise, StageDecode, StageEncode}; !slices.Equal(stages, want) {
		t.Errorf("stages %v, want %v", stages, want)
	}
	for _, stage := range stages {
		if clip.Timings[stage] <= 0 {
			t.Errorf("no time was measured for %s", stage)
		}
	}
	if clip.Frames != 9 || clip.Duration != 9.0/25 || clip.Seed != 7 {
		t.Errorf("%+v", clip)
	}
}

// What a caller has decoded is not decoded again: the pictures may be gone and the sound another, and the clip is the same
// one, with the sound that lies there.
func TestGenerateFromMaterial(t *testing.T) {
	e, s := openEngine(t), spec(t)
	voice, err := os.ReadFile(s.AudioPath)
	if err != nil {
		t.Fatal(err)
	}
	s.AudioPath = filepath.Join(t.TempDir(), "voice.wav")
	if err := os.WriteFile(s.AudioPath, voice, 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := e.Generate(t.Context(), s, ignore)
	if err != nil {
		t.Fatal(err)
	}
	handed := s
	handed.OutputPath = filepath.Join(t.TempDir(), "handed.mp4")
	if handed.Material, err = Decode(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	handed.ImagePaths = []string{"gone.png"}
	ffmpeg(t, "-f", "lavfi", "-i", "aevalsrc=0:s=16000:d=1", s.AudioPath)
	got, err := e.Generate(t.Context(), handed, ignore)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(c *Clip, stream string) string {
		return ffmpeg(t, "-i", c.Path, "-map", stream, "-f", "framemd5", "-")
	}
	if sum(want, "0:v") != sum(got, "0:v") {
		t.Error("the clip is another one")
	}
	if sum(want, "0:a") == sum(got, "0:a") {
		t.Error("the sound is not that of the file")
	}
	seconds, share := got.Outside()
	if whole := got.Compute + seconds; seconds <= 0 || math.Abs(whole-got.Seconds) > 1e-9 || math.Abs(share-seconds/whole) > 1e-9 {
		t.Errorf("outside of runs %g s, %g of %g s", seconds, share, got.Seconds)
	}
	handed.Material.Pictures = nil
	if _, err := e.Generate(t.Context(), handed, ignore); fault.CodeOf(err) != "images_missing" {
		t.Errorf("without a picture: %v", err)
	}
}

// Wherever a clip is cancelled, work stops, nothing is left, and the engine goes on to make the next one.
func TestCancelAtEveryStage(t *testing.T) {
	e := openEngine(t)
	for _, stage := range []Stage{StageText, StageAudio, StageImage, StageDenoise, StageDecode, StageEncode} {
		t.Run(string(stage), func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			s := spec(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			after := 0
			_, err := e.Generate(ctx, s, func(p Progress) {
				if ctx.Err() != nil {
					after++
				}
				if p.Stage == stage {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if after > 2 {
				t.Errorf("work went on for %d steps after it was cancelled", after)
			}
			left, err := os.ReadDir(filepath.Dir(s.OutputPath))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			goleak.VerifyNone(t, leaks)
		})
	}
	if _, err := e.Generate(t.Context(), spec(t), ignore); err != nil {
		t.Errorf("the next clip: %v", err)
	}
}

// What is wrong with a spec is told before a model is opened: the engine of this test has no weights.
func TestBadSpecs(t *testing.T) {
	for _, test := range []struct {
		code string
		bad  func(s *Spec)
	}{
		{"images_missing", func(s *Spec) { s.ImagePaths = nil }},
		{"images_unused", func(s *Spec) { s.Mode = TA }},
		{"bad_size", func(s *Spec) { s.Width = 40 }},
		{"invalid_input", func(s *Spec) { s.Steps = 251 }},
		{"invalid_input", func(s *Spec) { s.Variant = "14B" }},
		{"image_undecodable", func(s *Spec) { s.ImagePaths = []string{"nowhere.png"} }},
		{"audio_undecodable", func(s *Spec) { s.AudioPath = goldentest.File(t, "images/tall.png") }},
		{"missing_weights", func(*Spec) {}},
	} {
		t.Run(test.code, func(t *testing.T) {
			e := &Engine{layout: weights.Locate(t.TempDir()), models: map[Variant]*Models{}}
			s := spec(t)
			test.bad(&s)
			if _, err := e.Generate(t.Context(), s, ignore); fault.CodeOf(err) != test.code {
				t.Errorf("got %v, want %s", err, test.code)
			}
		})
	}
}

// A prompt beyond the encoder's 512 tokens is refused with its length, not cut.
func TestLongPrompt(t *testing.T) {
	e, s := openEngine(t), spec(t)
	for range 600 {
		s.Prompt += " 7"
	}
	if _, err := e.Generate(t.Context(), s, ignore); fault.CodeOf(err) != "prompt_too_long" {
		t.Errorf("got %v", err)
	}
}

// One session of the whole network and a session per block give the same numbers.
func TestJoinedEqualsStaged(t *testing.T) {
	e := openEngine(t)
	m, err := e.Models(Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	n := m.Transformer.net.PassNetwork(wan.Grid{Frames: 3, Height: 4, Width: 6})
	in := map[string]*ort.Tensor{}
	for _, p := range n.Inputs {
		count := int64(1)
		for _, d := range p.Shape {
			count *= d
		}
		data := make([]float32, count)
		for i := range data {
			data[i] = float32(i%17)/8 - 1
		}
		if in[p.Name], err = ort.FromFloat32s(p.Shape, data); err != nil {
			t.Fatal(err)
		}
	}
	var results [2][]float32
	for i, join := range []bool{true, false} {
		chain, err := e.rt.NewChain(n, ort.ChainOptions{Join: join})
		if err != nil {
			t.Fatal(err)
		}
		out, err := chain.Run(t.Context(), in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if results[i], err = ort.Float32s(out, "velocity"); err != nil {
			t.Fatal(err)
		}
		if err := chain.Close(); err != nil {
			t.Error(err)
		}
	}
	for i := range results[0] {
		if d := results[0][i] - results[1][i]; d > 1e-5 || d < -1e-5 {
			t.Fatalf("value %d: %v joined, %v staged", i, results[0][i], results[1][i])
		}
	}
}
