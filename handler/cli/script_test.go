package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler/cli"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/plan"
)

// The scripts run this test binary as humo-worker, with an engine that paints grey frames. Whole runs with the real
// engine are in testinput.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"humo-worker": func() {
		app := cli.App{Version: "1.2.3", Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Rooms: cli.Rooms{
			OpenEngine: openGrey,
			Examine:    examineGrey,
			WriteDemo: func(dir string) error {
				return os.MkdirAll(filepath.Join(dir, "HuMo"), 0o755)
			},
			Wanted: wantedRows,
			Parity: func(_ context.Context, _ cli.Settings, _ zerolog.Logger, dir string, out io.Writer) (int, error) {
				_, err := fmt.Fprintln(out, "case 0 1 ok")
				return strings.Count(dir, "bad"), err
			},
		}}
		os.Exit(app.Run(os.Args[1:]))
	}})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HUMO_TMP", filepath.Join(e.WorkDir, "scratch"))
			for _, file := range []string{"voice.wav", "person.png"} {
				data, err := os.ReadFile(filepath.Join("../../testinput", file))
				if err == nil {
					err = os.WriteFile(filepath.Join(e.WorkDir, file), data, 0o600)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"empty":    empty,
			"waitfile": waitFile,
		},
	})
}

// empty DIR checks that the folder holds no file; it may be absent.
func empty(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
	ts.Check(err)
	if (len(found) == 0) == neg {
		ts.Fatalf("%s holds %q", args[0], found)
	}
}

// waitFile PATTERN waits for a file to appear.
func waitFile(ts *testscript.TestScript, _ bool, args []string) {
	for range 1000 {
		if found, _ := filepath.Glob(ts.MkAbs(args[0])); len(found) > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear in 10 s", args[0])
}

// grey is an engine whose clips are grey. What the prompt says, it does.
type grey struct{ variant inference.Variant }

func openGrey(s cli.Settings, _ zerolog.Logger) (cli.Engine, error) {
	if s.Inference.Weights.Root == "missing" {
		return nil, fault.New("missing_weights", "HUMO_WEIGHTS", "the folder lacks HuMo/HuMo-1.7B/ema.pth; fetch it").Because(errors.New("no such file"))
	}
	return &grey{s.Jobs.Variant}, nil
}

// examineGrey is a machine on which clips of the published 1.7B fit up to a size.
func examineGrey(s cli.Settings, _ zerolog.Logger) (cli.Examiner, error) {
	if s.Inference.ORT.Library == "missing" {
		return nil, fault.New("onnxruntime_missing", "ONNXRUNTIME_LIB", "no usable ONNX Runtime library")
	}
	return &grey{}, nil
}

func (*grey) Runtime() (version, library string) { return "0.0.1", "/lib/grey.so" }

func (*grey) Plan(v inference.Variant, job plan.Job) (*plan.Plan, error) {
	return plan.Make(plan.Published(string(v), 4), job, plan.Device{Free: 8e9, Compute: 4, Mapped: true})
}

func (*grey) Close() error { return nil }

func (*grey) Prepare(context.Context, inference.Variant) error { return nil }

func (*grey) Estimate(_ context.Context, spec inference.Spec) (inference.Estimate, error) {
	cost, err := inference.CostOf(spec, inference.PublishedShape(spec.Variant))
	return inference.Estimate{Cost: cost, Seconds: 1.5}, err
}

func (*grey) Identify(context.Context, inference.Variant) (*inference.Identity, error) {
	return &inference.Identity{ONNXRuntime: "0.0.1"}, nil
}

func (*grey) Generate(ctx context.Context, spec inference.Spec, observe func(inference.Progress)) (*inference.Clip, error) {
	switch spec.Prompt {
	case "panic":
		panic("as asked")
	case "fail":
		return nil, errors.New("as asked")
	case "wait":
		if err := os.WriteFile(filepath.Join(filepath.Dir(spec.OutputPath), "waiting"), nil, 0o600); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, errors.New("broken pipe")
	}
	frames := (spec.Frames-1)/4*4 + 1
	for step := range spec.Steps + 1 {
		observe(inference.Progress{Stage: inference.StageDenoise, Step: step, Steps: spec.Steps})
		if spec.Prompt == "slow" {
			time.Sleep(300 * time.Millisecond)
		}
	}
	frame, sent := make([]byte, spec.Width*spec.Height*3), 0
	err := media.WriteMP4(ctx, spec.OutputPath, media.VideoSpec{
		Width: spec.Width, Height: spec.Height, FPS: spec.FPS, Frames: frames, CRF: spec.CRF, AudioPath: spec.AudioPath,
	}, func() ([]byte, error) {
		if sent++; sent > frames {
			return nil, io.EOF
		}
		return frame, nil
	})
	if err != nil {
		return nil, err
	}
	return &inference.Clip{
		Path: spec.OutputPath, Frames: frames, FPS: spec.FPS, Width: spec.Width, Height: spec.Height,
		Duration: float64(frames) / float64(spec.FPS), Seed: spec.Seed, Timings: map[inference.Stage]float64{inference.StageDenoise: 0.5},
	}, nil
}
