package handler

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/storage"
)

// engine is an Engine that notes what it is asked for.
type engine struct {
	specs   []inference.Spec      // without their material
	handed  []*inference.Material // which is here
	do      func(ctx context.Context, spec inference.Spec) error
	seconds float64 // what every clip is estimated to take
	broken  error   // what Estimate and Identify answer
}

func (e *engine) Estimate(_ context.Context, spec inference.Spec) (inference.Estimate, error) {
	cost, err := inference.CostOf(spec, inference.PublishedShape(spec.Variant))
	return inference.Estimate{Cost: cost, Seconds: e.seconds}, errors.Join(err, e.broken)
}

func (e *engine) Identify(context.Context, inference.Variant) (*inference.Identity, error) {
	if e.broken != nil {
		return nil, e.broken
	}
	return &inference.Identity{
		ONNXRuntime: "9.8.7",
		Weights:     []inference.WeightsFile{{Path: "HuMo/x.pth", Bytes: 12, Fingerprint: "abcd"}},
		Machine:     inference.Machine{Platform: "linux/amd64", CPU: "C", Cores: 2, Device: "GPU X"},
	}, nil
}

func (e *engine) Generate(ctx context.Context, spec inference.Spec, observe func(inference.Progress)) (*inference.Clip, error) {
	e.handed = append(e.handed, spec.Material)
	noted := spec
	noted.Material = nil
	e.specs = append(e.specs, noted)
	observe(inference.Progress{Stage: inference.StageDenoise, Step: 1, Steps: 2})
	if err := os.WriteFile(spec.OutputPath, []byte("mp4"), 0o600); err != nil {
		return nil, err
	}
	if e.do != nil {
		if err := e.do(ctx, spec); err != nil {
			return nil, err
		}
	}
	frames := (spec.Frames-1)/4*4 + 1
	return &inference.Clip{
		Path: spec.OutputPath, Frames: frames, FPS: spec.FPS, Width: spec.Width, Height: spec.Height,
		Duration: float64(frames) / float64(spec.FPS), Seed: spec.Seed,
		Timings: map[inference.Stage]float64{inference.StageDenoise: 1.23456}, Compute: 0.002, Passes: inference.Passes{Run: 5, Reused: 3, Gated: 1},
	}, nil
}

// reports notes progress.
type reports []inference.Progress

func (r *reports) Progress(p inference.Progress) { *r = append(*r, p) }

// bench is a handler with its surroundings in temporary folders.
type bench struct {
	*Handler
	engine     *engine
	root, tmp  string
	out        string
	log        bytes.Buffer
	progressed reports
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchWith(t, Config{Variant: inference.Variant1B})
}

func newBenchWith(t *testing.T, config Config) *bench {
	t.Helper()
	b := &bench{engine: &engine{}, root: t.TempDir(), tmp: filepath.Join(t.TempDir(), "tmp"), out: t.TempDir()}
	for name, data := range map[string][]byte{"voice.wav": wav(t, 1.5), "face.png": picture(t, 40, 30)} {
		if err := os.WriteFile(filepath.Join(b.root, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	store, err := storage.NewLocal(b.out)
	if err != nil {
		t.Fatal(err)
	}
	scratch, err := OpenScratch(b.tmp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(scratch.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	config.InputRoot = b.root
	b.Handler, err = New(config, b.engine, store, scratch, zerolog.New(&b.log))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) handle(t *testing.T, input string) (*Result, error) {
	t.Helper()
	return b.handleJob(t, Job{ID: "job-1", Input: json.RawMessage(input)})
}

func (b *bench) handleJob(t *testing.T, job Job) (*Result, error) {
	t.Helper()
	result, err := b.Handle(t.Context(), job, &b.progressed)
	if jobs, _ := filepath.Glob(filepath.Join(b.tmp, "*", "job-*")); len(jobs) > 0 {
		t.Errorf("the job left temporary files: %q", jobs)
	}
	return result, err
}

func TestHandle(t *testing.T) {
	b := newBench(t)
	b.engine.do = func(ctx context.Context, spec inference.Spec) error { // the sources are there while the engine works, and decoded
		if want, err := inference.Decode(ctx, &spec); err != nil || !reflect.DeepEqual(want, spec.Material) {
			t.Errorf("the engine is handed other material than lies in the files, error %v", err)
		}
		for _, path := range append([]string{spec.AudioPath}, spec.ImagePaths...) {
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				t.Errorf("source %s: %v", path, err)
			}
		}
		return nil
	}
	result, err := b.handle(t, `{
		"mode": "TIA", "variant": "17B", "prompt": " A woman speaks. ", "negative_prompt": "blurry",
		"audio": "volume:voice.wav", "images": ["volume:face.png", {"data": "`+base64.StdEncoding.EncodeToString(picture(t, 20, 20))+`", "type": "image/png"}],
		"frames": 18, "width": 64, "height": 96, "fps": 20, "steps": 3, "shift": 4.5, "seed": 18446744073709551615,
		"scale_t": 1, "scale_a": 2, "scale_i": 3, "step_change": 900, "isolate_vocals": true,
		"output": {"format": "mp4", "crf": 20, "expires_in": 60, "upload_url": null}, "dry_run": false
	}`)
	if err != nil {
		t.Fatal(err)
	}
	spec := b.engine.specs[0]
	dir := filepath.Dir(spec.OutputPath)
	want := inference.Spec{
		Mode: inference.TIA, Variant: inference.Variant17B, Prompt: " A woman speaks. ", NegativePrompt: "blurry",
		AudioPath: filepath.Join(dir, "audio"), ImagePaths: []string{filepath.Join(dir, "image-0"), filepath.Join(dir, "image-1")},
		Frames: 18, Width: 64, Height: 96, FPS: 20, Steps: 3, Shift: 4.5, Seed: 1<<64 - 1,
		ScaleT: 1, ScaleA: 2, ScaleI: 3, StepChange: 900, IsolateVocals: true, Quality: inference.Exact, CRF: 20, OutputPath: filepath.Join(dir, "video.mp4"),
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("the engine was asked for (-want +got):\n%s", diff)
	}
	got, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	wantJSON := `{"video_url":"file://` + b.out + `/job-1/video.mp4","key":"job-1/video.mp4","manifest_url":"file://` + b.out + `/job-1/manifest.json","seed":18446744073709551615,` +
		`"mode":"TIA","variant":"17B","quality":"exact","frames":17,"fps":20,"width":64,"height":96,"duration_s":0.85,"timings":{"denoise":1.235},"passes":{"run":5,"reused":3,"gated":1}}`
	if diff := cmp.Diff(wantJSON, string(got)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if data, err := os.ReadFile(filepath.Join(b.out, "job-1/video.mp4")); string(data) != "mp4" {
		t.Errorf("stored %q (error %v), want the engine's file", data, err)
	}
	if diff := cmp.Diff(reports{{Stage: inference.StageDenoise, Step: 1, Steps: 2}}, b.progressed); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if strings.Contains(b.log.String(), "woman") {
		t.Errorf("the log holds the prompt:\n%s", b.log.String())
	}
}

func TestHandleDefaults(t *testing.T) {
	b := newBench(t)
	seeds := map[uint64]bool{}
	for _, c := range []struct {
		input string
		want  inference.Spec
	}{
		{`{"prompt": "p", "audio": "volume:voice.wav"}`, inference.Spec{
			Mode: inference.TA, Variant: inference.Variant1B, Frames: 97, ScaleT: 7.5, ScaleA: 7.5, ScaleI: 4}},
		{`{"prompt": "p", "audio": "volume:voice.wav", "images": ["volume:face.png"], "variant": "17B", "frames": "auto", "seed": null, "mode": null}`, inference.Spec{
			Mode: inference.TIA, Variant: inference.Variant17B, Frames: 37, ScaleT: 5, ScaleA: 5.5, ScaleI: 4}}, // 1.5 s: 37.5 frames
	} {
		if _, err := b.handle(t, c.input); err != nil {
			t.Fatal(err)
		}
		got := b.engine.specs[len(b.engine.specs)-1]
		seeds[got.Seed] = true
		if got.Seed >= 1<<53 {
			t.Errorf("random seed %d does not survive a float64", got.Seed)
		}
		c.want.Prompt, c.want.AudioPath, c.want.ImagePaths, c.want.OutputPath, c.want.Seed = "p", got.AudioPath, got.ImagePaths, got.OutputPath, got.Seed
		c.want.Width, c.want.Height, c.want.FPS, c.want.Steps, c.want.Shift, c.want.CRF, c.want.StepChange, c.want.Quality = 832, 480, 25, 50, 5, 18, 980, inference.Exact
		if m := b.engine.handed[len(b.engine.handed)-1]; m == nil || len(m.Wave) != 24000 || len(m.Pictures) != len(got.ImagePaths) {
			t.Errorf("%s: the sources are not handed over decoded: %v", c.input, m)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.input, diff)
		}
	}
	if len(seeds) != 2 {
		t.Errorf("two jobs without a seed got the same one")
	}
}

// TestHandleLocalPaths: only a job that the person at the keyboard made may name any file.
func TestHandleLocalPaths(t *testing.T) {
	b := newBench(t)
	input := json.RawMessage(fmt.Sprintf(`{"prompt": "p", "audio": %q}`, filepath.Join(b.root, "voice.wav")))
	if _, err := b.Handle(t.Context(), Job{ID: "j", Input: input, LocalPaths: true}, &b.progressed); err != nil {
		t.Error(err)
	}
	if _, err := b.Handle(t.Context(), Job{ID: "j", Input: input}, &b.progressed); FailureOf(err).Output.Error.Code != CodeInvalidSource {
		t.Errorf("a plain path of a job: error %v, want %s", err, CodeInvalidSource)
	}
}

func TestHandleEngineErrors(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		name string
		ctx  context.Context
		do   func(context.Context, inference.Spec) error
		want string
	}{
		{"fault", t.Context(), func(context.Context, inference.Spec) error {
			return fmt.Errorf("engine: %w", fault.New("missing_tensors", "HuMo-1.7B/ema.pth", "lacks 2 tensors: a, b; fetch it again").Because(errors.New("secret cause")))
		}, `{"error":"HuMo-1.7B/ema.pth: lacks 2 tensors: a, b; fetch it again","output":{"error":{"code":"missing_tensors","field":"HuMo-1.7B/ema.pth","retryable":false,` +
			`"detail":[{"code":"missing_tensors","field":"HuMo-1.7B/ema.pth","message":"HuMo-1.7B/ema.pth: lacks 2 tensors: a, b; fetch it again"}]}}}`},
		{"joined", t.Context(), func(context.Context, inference.Spec) error {
			return fmt.Errorf("engine: %w", errors.Join(fault.New("a", "x", "1").Again(), errors.New("secret cause"), fmt.Errorf("y: %w", fault.New("b", "", "2"))))
		}, `{"error":"2 problems: x: 1 | 2","output":{"error":{"code":"a","field":"x","retryable":false,` +
			`"detail":[{"code":"a","field":"x","message":"x: 1"},{"code":"b","message":"2"}]}}}`},
		{"other", t.Context(), func(context.Context, inference.Spec) error { return errors.New("secret cause") },
			`{"error":"The job failed inside the worker; its log has the cause.","output":{"error":{"code":"internal","retryable":true,` +
				`"detail":[{"code":"internal","message":"The job failed inside the worker; its log has the cause."}]}}}`},
		{"panic", t.Context(), func(context.Context, inference.Spec) error { panic("secret cause") },
			`{"error":"The job failed inside the worker; its log has the cause.","output":{"error":{"code":"internal","retryable":true,` +
				`"detail":[{"code":"internal","message":"The job failed inside the worker; its log has the cause."}]}}}`},
		{"cancelled", cancelled, func(context.Context, inference.Spec) error { cancel(); return errors.New("broken pipe") },
			`{"error":"The job was cancelled.","output":{"error":{"code":"cancelled","retryable":true,"detail":[{"code":"cancelled","message":"The job was cancelled."}]}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.engine.do = c.do
			_, err := b.Handle(c.ctx, Job{ID: "j", Input: json.RawMessage(`{"prompt": "p", "audio": "volume:voice.wav"}`)}, &b.progressed)
			got, _ := json.Marshal(FailureOf(err))
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
			if c.name != "cancelled" && !strings.Contains(b.log.String(), "secret cause") {
				t.Errorf("the log does not hold the cause:\n%s", b.log.String())
			}
			if jobs, _ := filepath.Glob(filepath.Join(b.tmp, "*", "job-*")); len(jobs) > 0 {
				t.Errorf("the job left temporary files: %q", jobs)
			}
		})
	}
}

func TestConfigValidate(t *testing.T) {
	for want, config := range map[string]Config{
		"HUMO_VARIANT":    {Variant: "2B"},
		"HUMO_INPUT_ROOT": {Variant: "1.7B", InputRoot: "/nowhere/at/all"},
	} {
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one that names %s", config, err, want)
		}
	}
}

// wav is a file of a tone.
func wav(t *testing.T, seconds float64) []byte {
	t.Helper()
	n := int(seconds * 16000)
	data := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00")
	for i, v := range map[int]int{4: 36 + 2*n, 40: 2 * n} {
		data[i], data[i+1], data[i+2], data[i+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	}
	for i := range n {
		data = append(data, byte(i*7), byte(i/40%40))
	}
	return data
}

func picture(t *testing.T, width, height int) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewRGBA(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
