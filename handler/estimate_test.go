package handler

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const auto = `{"prompt": "p", "audio": "volume:voice.wav", "frames": "auto", "seed": 7`

func TestDryRun(t *testing.T) {
	b := newBench(t)
	b.engine.seconds = 12.3456
	result, err := b.handle(t, auto+`, "dry_run": true}`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	// 37 frames are 10 latent ones, one of reference follows: 11 x 30 x 52 patches.
	want := `{"seed":7,"mode":"TA","variant":"1.7B","quality":"exact","frames":37,"fps":25,"width":832,"height":480,"duration_s":1.48,"dry_run":true,` +
		`"estimate":{"passes":3,"steps":50,"tokens":17160,"tflop":15557.826,"seconds":12.346}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	result, err = b.handle(t, auto+`, "quality": "balanced", "dry_run": true}`)
	if err != nil {
		t.Fatal(err)
	}
	// Of 50 steps, 11 leave out one pass of three. What else is spared shows only later.
	if e := result.Estimate; result.Quality != "balanced" || e.AtMost != 3*50-11 || e.Passes != 3 || e.Steps != 50 || e.TFLOP > 15557.826*139/150+1 || e.TFLOP < 15557.826*139/150-1 {
		t.Errorf("balanced: %+v", result.Estimate)
	}
	if len(b.engine.specs) > 0 || entries(t, b.out) > 0 {
		t.Error("a dry run asked the engine, or stored something")
	}

	b.engine.broken = errors.New("no library") // what the arithmetic is does not depend on the machine
	result, err = b.handle(t, auto+`, "dry_run": true}`)
	if err != nil || result.Estimate.Seconds != 0 || result.Estimate.TFLOP != 15557.826 {
		t.Errorf("without an engine: %+v, error %v", result, err)
	}
}

// TestTimeout: a job that would not be done in its time is refused before anything is made; others are not.
func TestTimeout(t *testing.T) {
	for _, c := range []struct {
		name            string
		needed, allowed float64 // seconds
		refused         bool
	}{
		{"too long", 601, 600, true},
		{"in time", 599, 600, false},
		{"no timeout", 1e6, 0, false},
		{"not known", 0, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.engine.seconds = c.needed
			job := Job{ID: "job-1", Input: json.RawMessage(auto + `}`), Timeout: time.Duration(c.allowed * float64(time.Second))}
			_, err := b.handleJob(t, job)
			if !c.refused {
				if err != nil || len(b.engine.specs) != 1 {
					t.Errorf("%d clips, error %v", len(b.engine.specs), err)
				}
				return
			}
			got := FailureOf(err).Output.Error
			if got.Code != CodeTooLong || got.Field != "executionTimeout" || got.Retryable || len(b.engine.specs) > 0 {
				t.Errorf("%+v and %d clips, want a refusal that names executionTimeout", got, len(b.engine.specs))
			}
			for _, text := range []string{"10m1s", "10m0s", "3 passes x 50 steps of 17160 tokens", "policy.executionTimeout", "fewer frames"} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
		})
	}
}
