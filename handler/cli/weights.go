package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/weights/pull"
)

func (a *App) weights() *cobra.Command {
	group := &cobra.Command{
		Use:   "weights",
		Short: "Get model weights, and see what is there",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	group.AddCommand(a.pullWeights(), a.verifyWeights(), a.listWeights(), a.packWeights(), a.demoWeights())
	return group
}

func (a *App) pullWeights() *cobra.Command {
	var variant, dir string
	var separator bool
	cmd := &cobra.Command{
		Use:   "pull --variant 1.7B|17B|all [--dir DIR]",
		Short: "Fetch the published weights, about 22 GB for the 1.7B",
		Long: `Fetch the published weights, and check the SHA-256 of each. Files that are there are left as they are, and what
another pull began is gone on with, whatever stopped it. Files in a cache of the hub's own client, or in RunPod's, are used
in place.

HF_TOKEN, HF_ENDPOINT, HF_HOME and HF_HUB_CACHE mean what they mean to the hub's own client.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := newDisplay(a.Stderr, a.Stderr)
			settings, log, err := a.start(show, "")
			if err != nil {
				return err
			}
			rows, err := a.Rooms.Wanted(variant, separator)
			if err != nil {
				return err
			}
			if at := settings.Inference.Weights; dir == "" && at.Root == "" && at.CacheDir == "" {
				return fault.New("missing_dir", "", "it is not said where the weights go; name the folder with --dir, or in HUMO_WEIGHTS")
			}
			layout := weights.Locate(weightsDir(settings, dir))
			progress := show.transfer(log, false)
			summary, err := pull.Pull(cmd.Context(), settings.Hub, layout, rows, log, progress.Progress)
			progress.Close()
			if err != nil {
				if cmd.Context().Err() != nil {
					log.Info().Msg("What has arrived is kept; the same command goes on from there.")
				}
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "The weights are in %s: %s. Use them with  HUMO_WEIGHTS=%s\n", layout.Root, summarized(summary), layout.Root)
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&variant, "variant", "", "1.7B, 17B or all")
	flags.StringVar(&dir, "dir", "", "the folder to fetch to (default $HUMO_WEIGHTS)")
	flags.BoolVar(&separator, "isolate-vocals", true, "fetch also the network that isolates vocals, 67 MB")
	if err := cmd.MarkFlagRequired("variant"); err != nil {
		panic(err) // the flag above has another name
	}
	return cmd
}

func summarized(s *pull.Summary) string {
	text := fmt.Sprintf("%s in %d files", weights.Size(s.Bytes), s.Files)
	if s.Found > 0 {
		text += fmt.Sprintf(", %d of them from before", s.Found)
	}
	if s.Linked > 0 {
		text += fmt.Sprintf(", %d used where a cache has them", s.Linked)
	}
	return text
}

func (a *App) verifyWeights() *cobra.Command {
	var dir string
	var quick bool
	cmd := &cobra.Command{
		Use:   "verify [--dir DIR] [--quick]",
		Short: "Compare the files that are there with the published ones, byte by byte",
		Long: `Compare the files that are there with the published ones: every byte by SHA-256, or with --quick the sizes. The exit
code is 1 if one of them differs, or if an index names a file that is missing. Nothing is changed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := newDisplay(a.Stderr, a.Stderr)
			settings, log, err := a.start(show, "")
			if err != nil {
				return err
			}
			rows, err := a.Rooms.Wanted("all", true)
			if err != nil {
				return err
			}
			layout := weights.Locate(weightsDir(settings, dir))
			progress := show.transfer(log, true)
			findings, err := pull.Verify(cmd.Context(), layout, rows, quick, progress.Progress)
			progress.Close()
			if err != nil {
				return err
			}
			return a.printFindings(layout, findings)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the folder of the weights (default $HUMO_WEIGHTS)")
	cmd.Flags().BoolVar(&quick, "quick", false, "compare the sizes only")
	return cmd
}

// printFindings prints a line per file, those that are wrong last.
func (a *App) printFindings(l weights.Layout, findings []pull.Finding) error {
	if len(findings) == 0 {
		return fault.New("missing_weights", "", "%s holds none of the published files; name the folder above HuMo/ with --dir, or in HUMO_WEIGHTS", l.Root)
	}
	var good, wrong strings.Builder
	table, problems := tabwriter.NewWriter(&good, 0, 0, 2, ' ', 0), 0
	for _, f := range findings {
		switch {
		case f.Problem != "":
			problems++
			fmt.Fprintf(&wrong, "WRONG  %s: %s\n", f.Path, f.Problem)
		case f.Checked == "":
			_, _ = fmt.Fprintf(table, "?\t%s\t%s\tnot compared: a pull to this folder learns its digest\n", f.Path, weights.Size(f.Bytes))
		default:
			_, _ = fmt.Fprintf(table, "ok\t%s\t%s\t%s\n", f.Path, weights.Size(f.Bytes), f.Checked)
		}
	}
	_ = table.Flush() // to memory
	if _, err := fmt.Fprint(a.Stdout, good.String(), wrong.String()); err != nil {
		return err
	}
	if problems > 0 {
		return errReported
	}
	return nil
}

func (a *App) listWeights() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "list [--dir DIR]",
		Short: "Show which weights are there, what they hold, and which jobs they serve",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			settings, _, err := a.start(a.Stderr, "")
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.Stdout, listing(weights.Locate(weightsDir(settings, dir))))
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the folder of the weights (default $HUMO_WEIGHTS)")
	return cmd
}

// listing is the table of a layout's files, and what they serve.
func listing(l weights.Layout) string {
	var out, problems strings.Builder
	var bytes int64
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, h := range l.Holdings() {
		bytes += h.Bytes
		note := ""
		switch {
		case h.Problem == "missing":
			note = "missing"
		case h.Problem != "":
			note = "cannot be used"
			fmt.Fprintf(&problems, "%s: %s\n", h.File.Path, h.Problem)
		case h.Tensors > 0:
			note = fmt.Sprintf("%s, %s parameters in %d tensors", strings.Join(h.DTypes, "+"), amount(h.Parameters), h.Tensors)
		}
		if h.Shards > 0 {
			note += fmt.Sprintf(", %d shards", h.Shards)
		}
		if h.Link != "" {
			note = strings.TrimPrefix(note+", link to "+h.Link, ", ")
		}
		size := "-"
		if h.Bytes > 0 {
			size = weights.Size(h.Bytes)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", h.File.Path, size, h.File.Purpose, note)
	}
	_ = table.Flush() // to memory
	kind := ""
	if l.IsDemo() {
		kind = ", the demo bundle"
	}
	fmt.Fprintf(&out, "%s\n%s in %s%s\n", problems.String(), weights.Size(bytes), l.Root, kind)
	for _, variant := range []string{"1.7B", "17B"} {
		serves := "modes TA and TIA"
		if _, err := l.Require(variant); err != nil {
			serves = "cannot run; what is missing comes with  " + l.Cure(variant)
		}
		fmt.Fprintf(&out, "%-14s %s\n", variant, serves)
	}
	serves := "yes"
	if _, err := l.Separator("1.7B"); err != nil {
		serves = "no"
	}
	fmt.Fprintf(&out, "%-14s %s\n", "isolate_vocals", serves)
	return out.String()
}

// amount writes a number of parameters as models are named by it.
func amount(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f B", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	}
	return fmt.Sprint(n)
}

func (a *App) demoWeights() *cobra.Command {
	var dir string
	demo := &cobra.Command{
		Use:   "demo",
		Short: "Write the demo weights: tiny, random, in the published layout; the pictures are abstract",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := a.Rooms.WriteDemo(dir); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.Stdout, "The demo weights are in %s. Use them with  HUMO_WEIGHTS=%s\n", dir, dir)
			return err
		},
	}
	demo.Flags().StringVar(&dir, "dir", "", "the folder to write to")
	if err := demo.MarkFlagRequired("dir"); err != nil {
		panic(err) // the flag above has another name
	}
	return demo
}

// weightsDir is the folder that a flag names, else the settings'.
func weightsDir(s Settings, flag string) string {
	if flag != "" {
		return flag
	}
	return s.Inference.Weights.Dir()
}
