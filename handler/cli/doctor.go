package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/plan"
)

// Examiner is an open engine that is only looked at.
type Examiner interface {
	io.Closer
	Runtime() (version, library string)
	Machine() inference.Machine
	Plan(v inference.Variant, job plan.Job) (*plan.Plan, error)
}

// mark says how a check went.
type mark string

const (
	passed mark = "ok"
	failed mark = "problem" // a job cannot run
	noted  mark = "info"
)

var signs = map[mark]string{passed: "✓", failed: "✗", noted: "-"}

// finding is a line of the doctor's.
type finding struct {
	Group string `json:"group"`
	Mark  mark   `json:"result"`
	Name  string `json:"name"`
	Text  string `json:"detail"`
	Cure  string `json:"cure,omitempty"`
}

// report is all that the doctor finds.
type report struct {
	OK       bool                             `json:"ok"` // a job of the endpoint's variant can run
	Version  string                           `json:"version"`
	Findings []finding                        `json:"findings"`
	Settings []setting                        `json:"settings"`
	Plans    map[inference.Variant]*plan.Plan `json:"plans"`
}

func (r *report) add(group string, m mark, name, text, cure string) {
	r.Findings = append(r.Findings, finding{group, m, name, text, cure})
	r.OK = r.OK && m != failed
}

func (a *App) doctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [--json]",
		Short: "Look at everything that a job needs: programs, memory, weights, settings, storage; say what is wrong and its cure",
		Long: `Look at everything that a job needs, and say what is wrong and its cure. The exit code is 1 if a job with the defaults could
not run. Nothing is changed, no address is contacted, and secrets show as ***.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, log, err := a.start(a.Stderr, "")
			r := &report{OK: true, Version: a.Version, Plans: map[inference.Variant]*plan.Plan{}}
			r.settings(a, settings, err)
			r.programs(cmd.Context(), a.Version)
			r.machine(settings)
			r.storage(settings)
			r.weights(settings)
			r.engine(a.Rooms, settings, log)
			if asJSON {
				encoder := json.NewEncoder(a.Stdout)
				encoder.SetEscapeHTML(false)
				encoder.SetIndent("", "  ")
				err = encoder.Encode(r)
			} else {
				_, err = io.WriteString(a.Stdout, r.String())
			}
			if err == nil && !r.OK {
				err = errReported
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// String is the report for people.
func (r *report) String() string {
	var out strings.Builder
	group := ""
	for _, f := range r.Findings {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(&out, "%s\n", group)
		}
		fmt.Fprintf(&out, "  %s %-16s %s\n", signs[f.Mark], f.Name, strings.ReplaceAll(f.Text, "\n", "\n"+strings.Repeat(" ", 21)))
		if f.Cure != "" {
			fmt.Fprintf(&out, "  %18s cure: %s\n", "", f.Cure)
		}
	}
	out.WriteString("settings\n")
	for _, s := range r.Settings {
		fmt.Fprintf(&out, "  - %s=%s (%s)\n", s.Name, s.Value, s.Origin)
	}
	if r.OK {
		out.WriteString("A job can run.\n")
	} else {
		out.WriteString("A job cannot run: see the lines with ✗.\n")
	}
	return out.String()
}
