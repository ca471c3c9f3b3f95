package image_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/plan"
)

// share is the part of a card's peak that docs/deploy.md takes the worker to reach: an assumption, not a measurement.
const share = 0.4

// cards are those of the pools in hub.json: bf16 peak without sparsity (NVIDIA's data sheets, FLOP per second) and RunPod's
// price of a flex worker (its documentation of August 2026, dollars per second).
var cards = []struct {
	name, pool  string
	peak, price float64
}{
	{"L4, A5000, 3090", "AMPERE_24", 71e12, 0.00019},
	{"4090", "ADA_24", 165e12, 0.00031},
	{"A6000, A40", "AMPERE_48", 150e12, 0.00034},
	{"L40S, L40, 6000 Ada", "ADA_48_PRO", 181e12, 0.00053},
	{"A100", "AMPERE_80", 312e12, 0.00076},
	{"H100", "ADA_80_PRO", 756e12, 0.00116},
	{"H200", "HOPPER_141", 989e12, 0.00155},
}

// clips are the columns of the table: 97 frames, which are 3.9 s.
var clips = []inference.Spec{
	{Mode: inference.TA, Variant: inference.Variant1B, Width: 832, Height: 480, Frames: 97, Steps: 50},
	{Mode: inference.TA, Variant: inference.Variant17B, Width: 832, Height: 480, Frames: 97, Steps: 50},
	{Mode: inference.TA, Variant: inference.Variant17B, Width: 832, Height: 480, Frames: 97, Steps: 6, Quality: "fast"},
}

// The table of costs in docs/deploy.md is what inference counts, at the share and the prices that the document names.
func TestCostsAreComputed(t *testing.T) {
	text := read(t, "docs/deploy.md")
	if want := fmt.Sprintf("%.0f %%", share*100); !strings.Contains(text, want) {
		t.Errorf("docs/deploy.md does not name the share of the peak, %s", want)
	}
	for _, c := range cards {
		row := fmt.Sprintf("| %s | `%s` | %.0f | %.5f |", c.name, c.pool, c.peak/1e12, c.price)
		for _, spec := range clips {
			cost, err := inference.CostOf(spec, inference.PublishedShape(spec.Variant))
			if err != nil {
				t.Fatal(err)
			}
			seconds := cost.FLOP / (c.peak * share)
			row += fmt.Sprintf(" %s, $%.2f |", duration(seconds), seconds*c.price)
		}
		if !strings.Contains(text, row+"\n") {
			t.Errorf("docs/deploy.md lacks the line\n%s", row)
		}
	}
}

// The table of what fits is the planner's, for clips of 97 frames, with everything but 2 % of the card to use.
func TestFitsAreThePlanners(t *testing.T) {
	text := read(t, "docs/deploy.md")
	for _, c := range []struct {
		memory int64
		pools  string
	}{
		{24, "`AMPERE_24`, `ADA_24`"}, {48, "`AMPERE_48`, `ADA_48_PRO`"}, {80, "`AMPERE_80`, `ADA_80_PRO`"}, {141, "`HOPPER_141`"},
	} {
		row := fmt.Sprintf("| %d GB | %s |", c.memory, c.pools)
		for _, variant := range []string{"1.7B", "17B"} {
			for _, job := range []plan.Job{{Width: 832, Height: 480, Frames: 97}, {Width: 1280, Height: 720, Frames: 97}} {
				card := plan.Device{Free: c.memory * 980_000_000, Compute: 2, Text: 2, Base: plan.CUDABase}
				p, err := plan.Make(plan.Published(variant, 2), job, card)
				row += " " + fit(p, err) + " |"
			}
		}
		if !strings.Contains(text, row+"\n") {
			t.Errorf("docs/deploy.md lacks the line\n%s", row)
		}
	}
}

func fit(p *plan.Plan, err error) string {
	const networks = 4
	switch {
	case err != nil:
		return "no"
	case p.Groups > 1:
		return "streams"
	case len(p.Resident) < networks:
		return "swaps"
	}
	return "stays"
}

func duration(seconds float64) string {
	if seconds < 100 {
		return fmt.Sprintf("%.0f s", seconds)
	}
	return fmt.Sprintf("%.0f min", seconds/60)
}

// From nothing to an endpoint in ten numbered steps, and every link inside the project leads somewhere.
func TestDeploySteps(t *testing.T) {
	text := read(t, "docs/deploy.md")
	for i, m := range regexp.MustCompile(`(?m)^## ([0-9]+)\. `).FindAllStringSubmatch(text, -1) {
		if m[1] != fmt.Sprint(i+1) {
			t.Errorf("the step after %d is %s", i, m[1])
		}
	}
	if n := len(regexp.MustCompile(`(?m)^## [0-9]+\. `).FindAllString(text, -1)); n != 10 {
		t.Errorf("docs/deploy.md has %d steps", n)
	}
	for _, m := range regexp.MustCompile(`\]\(([a-z./-]+\.md)\)`).FindAllStringSubmatch(text, -1) {
		read(t, "docs/"+m[1])
	}
	said := []string{"weights pull", "networkVolumes", "flashboot", "idleTimeout", "RUNPOD_INIT_TIMEOUT", "executionTimeout"}
	for _, want := range said {
		if !strings.Contains(text, want) {
			t.Errorf("docs/deploy.md does not speak of %s", want)
		}
	}
}
