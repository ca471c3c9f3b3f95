package cli

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
)

// TestLineReporter: a line when a stage begins, one every five seconds within it, and none after Close.
func TestLineReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r := newDisplay(&out, &out).progress(newLogger(&out, zerolog.InfoLevel).With().Str("job", "j").Logger())
		time.Sleep(6500 * time.Millisecond) // nothing has begun; half a second off the ticks
		r.Progress(inference.Progress{Stage: inference.StageText, Step: 0, Steps: 2})
		r.Progress(inference.Progress{Stage: inference.StageDenoise, Step: 0, Steps: 150})
		for step := 1; step <= 15; step++ {
			time.Sleep(time.Second)
			r.Progress(inference.Progress{Stage: inference.StageDenoise, Step: step, Steps: 150})
		}
		r.Close()
		time.Sleep(time.Minute)
		want := `INFO   | j | Stage text.
INFO   | j | Stage denoise.
INFO   | j | Stage denoise: step 3 of 150 after 4s, about 2m51s left.
INFO   | j | Stage denoise: step 8 of 150 after 9s, about 2m31s left.
INFO   | j | Stage denoise: step 13 of 150 after 14s, about 2m22s left.
`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}
