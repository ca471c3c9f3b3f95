package inference

import (
	"errors"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/plan"
)

// A clip that does not fit is refused with numbers before a network runs; where the system does not tell how
// much there is, it is made.
func TestGenerateRefusesWhatDoesNotFit(t *testing.T) {
	e := openEngine(t)
	big := spec(t)
	big.Width, big.Height = 1280, 720 // of the tiny VAE: some hundred megabytes
	e.available = func() (int64, bool) { return 20e6, true }
	_, err := e.Generate(t.Context(), big, func(p Progress) { t.Errorf("stage %s began", p.Stage) })
	bad, ok := errors.AsType[*fault.Error](err)
	if !ok || bad.Code != plan.CodeDoesNotFit || bad.Field == "" || !strings.Contains(bad.Message, "and 0.02 GB are free") {
		t.Errorf("got %v", err)
	}
	small := spec(t)
	e.available = func() (int64, bool) { return 0, false }
	if _, err := e.Generate(t.Context(), small, ignore); err != nil {
		t.Errorf("where the system does not tell: %v", err)
	}
}

// The refusal leaves room for doubt: what would take a little more than there is, is tried.
func TestPlanIsNotTooSure(t *testing.T) {
	e := openEngine(t)
	job := plan.Job{Width: 832, Height: 480, Frames: 97}
	p, err := e.Plan(Variant1B, job)
	if err != nil {
		t.Fatal(err)
	}
	need := p.Peak - plan.CPUBase
	for _, test := range []struct {
		share float64
		fits  bool
	}{{1, true}, {0.91, true}, {0.89, false}} {
		e.available = func() (int64, bool) { return int64(test.share * float64(need)), true }
		if _, err := e.Plan(Variant1B, job); (err == nil) != test.fits {
			t.Errorf("with %.2f of what it takes: %v", test.share, err)
		}
	}
}
