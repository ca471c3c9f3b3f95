package inference

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/inference/checkpoint"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/graph"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/whisper"
)

// separatorFile is where the vocal separator lies in the published layout.
const separatorFile = "audio_separator/Kim_Vocal_2.onnx"

// demoEngine runs on a new demo bundle, whose separator passes the sound through.
func demoEngine(t *testing.T) (e *Engine, root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "weights")
	if err := weights.WriteDemo(root); err != nil {
		t.Fatal(err)
	}
	e, err := Open(Config{Weights: weights.Config{Root: root}, ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, root
}

// separate puts a network in place of the separator: [1, 4, 3072, 256] in and out.
func separate(t *testing.T, root string, network func(g *graph.Graph, spectrum graph.Value) graph.Value) {
	t.Helper()
	m, err := graph.Build("toy", graph.Options{}, func(g *graph.Graph) {
		g.Output("output", network(g, g.Input("input", checkpoint.F32, 1, 4, 3072, 256)))
	})
	if err != nil {
		t.Fatal(err)
	}
	replace(t, root, m.Bytes)
}

func replace(t *testing.T, root string, model []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, separatorFile), model, 0o600); err != nil {
		t.Fatal(err)
	}
}

func silence(g *graph.Graph, x graph.Value) graph.Value { return g.Mul(x, g.Scalar(0)) }

// leftOnly silences the right channel.
func leftOnly(g *graph.Graph, x graph.Value) graph.Value {
	return g.Mul(x, g.Float32s([]int64{4, 1, 1}, 1, 1, 0, 0))
}

// voiceSpec is a short clip of a voice track that a line of ffmpeg makes.
func voiceSpec(t *testing.T, source string) Spec {
	t.Helper()
	s := spec(t)
	s.Mode, s.ImagePaths, s.Frames, s.IsolateVocals = TA, nil, 5, true
	s.AudioPath = filepath.Join(t.TempDir(), "voice.wav")
	ffmpeg(t, "-f", "lavfi", "-i", source, s.AudioPath)
	return s
}

func ffmpeg(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...).Output()
	if err != nil {
		t.Fatal(args, err)
	}
	return string(out)
}

// stereo is a tone on the left and a higher one on the right.
const stereo = "aevalsrc=0.4*sin(2*PI*300*t)|0.4*sin(2*PI*2000*t):s=48000:d="

// heard is what the audio encoder is given, beside what it hears without isolation.
func heard(t *testing.T, e *Engine, s Spec) (isolated, whole []float32) {
	t.Helper()
	in, err := Decode(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	v, err := e.openSeparator(s.Variant)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.listen(t.Context(), in.Audio, len(in.Wave)); err != nil {
		t.Fatal(err)
	}
	wave, err := v.isolate(t.Context(), len(in.Wave), func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(wave) != len(in.Wave) {
		t.Fatalf("%d samples, want %d as without isolation", len(wave), len(in.Wave))
	}
	return wave, in.Wave
}

// The network's spectrum becomes the wave that the encoder hears, at the same places.
func TestIsolatedWave(t *testing.T) {
	e, root := demoEngine(t)
	s := voiceSpec(t, stereo+"7.13")
	tone := func(i int) float64 { return 0.2 * math.Sin(2*math.Pi*300*float64(i)/media.SampleRate) }
	for _, test := range []struct {
		name    string
		network func(*graph.Graph, graph.Value) graph.Value
		want    func(whole []float32, i int) float64
	}{
		{"pass through", nil, func(whole []float32, i int) float64 { return 1.009 * float64(whole[i]) }},
		{"left only", leftOnly, func(_ []float32, i int) float64 { return 1.009 * tone(i) }},
		{"silence", silence, func([]float32, int) float64 { return 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.network != nil {
				separate(t, root, test.network)
			}
			isolated, whole := heard(t, e, s)
			for i := 2000; i < len(whole)-2000; i++ { // the hard edges hold frequencies that a spectrum leaves out
				if want := test.want(whole, i); math.Abs(float64(isolated[i])-want) > 5e-4 {
					t.Fatalf("sample %d is %g, want %g", i, isolated[i], want)
				}
			}
		})
	}
}

// Of a long recording the voices are taken out of what the clip hears alone: the 30 s of the encoder's segment. They are the
// beginning of those of the whole, bit for bit.
func TestOnlyWhatIsHeardIsIsolated(t *testing.T) {
	e, _ := demoEngine(t)
	s := voiceSpec(t, stereo+"38.3")
	whole, wave := heard(t, e, s)
	audio, err := media.OpenAudio(t.Context(), s.AudioPath)
	if err != nil {
		t.Fatal(err)
	}
	part := hearing(len(wave), s.FPS, 97)
	if part.samples != whisper.SegmentSamples {
		t.Fatalf("a clip of 97 frames hears %d samples", part.samples)
	}
	for _, samples := range []int{part.samples, 16001} {
		v, err := e.openSeparator(s.Variant)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.listen(t.Context(), audio, samples); err != nil {
			t.Fatal(err)
		}
		runs := 0
		got, err := v.isolate(t.Context(), samples, func(_, total int) { runs = total })
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(whole[:samples], got) {
			t.Errorf("%d samples: they are not the beginning of the whole", samples)
		}
		if seconds := float64(samples) / media.SampleRate; float64(runs) > (seconds+1)/4.4+2 || len(v.left) > int((seconds+7)*44100) {
			t.Errorf("%.1f s: %d runs on %d samples", seconds, runs, len(v.left))
		}
	}
}

// The picture is that of the isolated sound; the sound in the file is the one that was sent.
func TestGenerateIsolated(t *testing.T) {
	e, root := demoEngine(t)
	separate(t, root, silence)
	generate := func(s Spec) (video, audio string) {
		t.Helper()
		var audioSteps []string
		if _, err := e.Generate(t.Context(), s, func(p Progress) {
			if p.Stage == StageAudio {
				audioSteps = append(audioSteps, fmt.Sprintf("%d/%d", p.Step, p.Steps))
			}
		}); err != nil {
			t.Fatal(err)
		}
		want := "0/0 0/1 1/1"
		if s.IsolateVocals { // the separator's segment, then the encoder's
			want = "0/0 0/2 1/2 1/2 2/2"
		}
		if got := strings.Join(audioSteps, " "); got != want {
			t.Errorf("audio steps %s, want %s", got, want)
		}
		sum := func(stream string) string {
			return ffmpeg(t, "-i", s.OutputPath, "-map", stream, "-f", "framemd5", "-")
		}
		return sum("0:v"), sum("0:a")
	}
	isolated := voiceSpec(t, stereo+"1.0")
	whole := isolated
	whole.IsolateVocals = false
	quiet := voiceSpec(t, "aevalsrc=0|0:s=48000:d=1.0")
	quiet.IsolateVocals = false

	video, audio := generate(isolated)
	wholeVideo, wholeAudio := generate(whole)
	quietVideo, quietAudio := generate(quiet)
	if video != quietVideo || video == wholeVideo {
		t.Errorf("a voice that the separator silences moves the picture: as silence %v, as the whole sound %v", video == quietVideo, video == wholeVideo)
	}
	if audio != wholeAudio || audio == quietAudio {
		t.Errorf("the sound of the clip is not the sound that was sent: as sent %v, as silence %v", audio == wholeAudio, audio == quietAudio)
	}
}

// Whatever is wrong with the separator's file is told before a network runs; without isolation the file does not matter.
func TestSeparatorFaults(t *testing.T) {
	e, root := demoEngine(t)
	file := filepath.Join(root, separatorFile)
	other, err := graph.Build("other", graph.Options{}, func(g *graph.Graph) { g.Output("y", g.Input("x", checkpoint.F32, 1, 4, 2048, 256)) })
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, code, text string
		damage           func()
	}{
		{"page", "bad_weights", "no ONNX model", func() { replace(t, root, []byte("<html>404</html>")) }},
		{"other model", "wrong_shape", "this is not Kim_Vocal_2", func() { replace(t, root, other.Bytes) }},
		{"other size", "wrong_shape", "this is not Kim_Vocal_2", func() {
			separate(t, root, func(g *graph.Graph, x graph.Value) graph.Value { return g.Slice(x, 3, 0, 128) })
		}},
		{"gone", "missing_weights", "expected at " + file, func() {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.damage()
			var seen []Stage
			_, err := e.Generate(t.Context(), voiceSpec(t, stereo+"0.5"), func(p Progress) { seen = append(seen, p.Stage) })
			if fault.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v, want %s: %s", err, test.code, test.text)
			}
			if len(seen) > 0 {
				t.Errorf("stages ran: %v", slices.Compact(seen))
			}
		})
	}
	s := voiceSpec(t, stereo+"0.5")
	s.IsolateVocals = false
	if _, err := e.Generate(t.Context(), s, ignore); err != nil {
		t.Errorf("without isolation: %v", err)
	}
	separate(t, root, func(g *graph.Graph, x graph.Value) graph.Value { return g.Div(x, g.Scalar(0)) })
	if _, err := e.Generate(t.Context(), voiceSpec(t, stereo+"0.5"), ignore); fault.CodeOf(err) != "bad_weights" || !strings.Contains(err.Error(), "no numbers") {
		t.Errorf("not a number: %v", err)
	}
}

// A job that is cancelled while vocals are isolated ends between two segments, or within one.
func TestCancelIsolation(t *testing.T) {
	e, _ := demoEngine(t)
	s := voiceSpec(t, stereo+"60")
	leaks := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	after := 0
	_, err := e.Generate(ctx, s, func(p Progress) {
		if ctx.Err() != nil {
			after++
		}
		if p.Stage == StageAudio && p.Step == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || after > 1 {
		t.Errorf("%v, %d steps later", err, after)
	}
	if left, err := os.ReadDir(filepath.Dir(s.OutputPath)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	goleak.VerifyNone(t, leaks)
}
