package cli_test

import (
	"context"
	"io"
	"testing"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler/cli"
	"github.com/humo-worker/humo-worker/inference"
)

// The type is the flag's, else the environment's; and what is float32 is compared as float32.
func TestParityType(t *testing.T) {
	for _, test := range []struct {
		environ, args []string
		want          inference.DType
	}{
		{nil, nil, inference.DTypeAuto},
		{[]string{"HUMO_DTYPE=fp16"}, nil, inference.FP16},
		{[]string{"HUMO_DTYPE=fp16"}, []string{"--dtype", "bf16"}, inference.BF16},
	} {
		var got inference.Config
		app := cli.App{Environ: test.environ, Stdout: io.Discard, Stderr: io.Discard, Rooms: cli.Rooms{
			Parity: func(_ context.Context, s cli.Settings, _ zerolog.Logger, _ string, _ io.Writer) (int, error) {
				got = s.Inference
				return 0, nil
			},
		}}
		if code := app.Run(append([]string{"parity", "dir"}, test.args...)); code != 0 {
			t.Errorf("%v %v: exit code %d", test.environ, test.args, code)
		}
		if got.Device.DType != test.want || !got.ORT.CUDA.NoTF32 {
			t.Errorf("%v %v: %+v", test.environ, test.args, got.Device)
		}
	}
}
