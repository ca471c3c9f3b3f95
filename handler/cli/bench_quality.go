package cli

import (
	"cmp"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/bench"
	"github.com/humo-worker/humo-worker/inference/quality"
)

func (a *App) benchQuality() *cobra.Command {
	var o quality.Options
	var size, variant string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "quality [--size SIZE] [--steps N] [--weights DIR | --full] [--json]",
		Short: "Compare the qualities of a job: passes, time, and how far their clips lie apart",
		Long: `Make the same clip exact, balanced, and exact in half the steps, and compare passes of the transformer, seconds of
denoising, and the distance from the exact clip: relative L2 of the final latents, PSNR of the frames. Then one as "fast" makes
it, a few steps of one pass, but without the LoRA, and the same with linear layers in 8 bits, compared with each other. Then the
first ones with a formula in the place of the network (normally distributed data), each saving alone too.

Without --weights, random weights are made in the temporary folder and removed again: tiny ones, or with --full of the
transformer's published size (1.7B: 8 GB). What random weights show says nothing about real pictures.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, log, err := a.startBench()
			if err != nil {
				return err
			}
			s, err := bench.ParseSize(size, inference.Variant(variant))
			if err != nil {
				return err
			}
			o.Variant, o.Width, o.Height, o.Frames = s.Variant, s.Width, s.Height, s.Frames
			rows, err := quality.Compare(cmd.Context(), settings.Inference, o, log)
			if err != nil {
				return err
			}
			formula, err := quality.Analytic(o.Variant, o.Steps)
			if err != nil {
				return err
			}
			if asJSON {
				_, err = fmt.Fprintln(a.Stdout, compact(map[string]any{"tokens": s.Tokens(), "clip": rows, "formula": formula}))
				return err
			}
			if err := a.printRows(fmt.Sprintf("%s, %s, %d tokens", s.Variant, s, s.Tokens()), rows); err != nil {
				return err
			}
			return a.printRows("a formula in the place of the network", formula)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&size, "size", "128x96x17", "WIDTHxHEIGHTxFRAMES, a number of tokens, or 1.7B-480p, 17B-480p, 17B-720p")
	flags.StringVar(&variant, "variant", string(inference.Variant1B), "1.7B or 17B")
	flags.IntVar(&o.Steps, "steps", 50, "denoising steps of the exact clip")
	flags.StringVar(&o.Weights, "weights", "", "the folder of the weights (default: weights are made)")
	flags.BoolVar(&o.Full, "full", false, "make weights of the transformer's published size")
	flags.IntVar(&o.Blocks, "blocks", 0, "of those, as many blocks; 0: all")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("weights", "full")
	return cmd
}

func (a *App) printRows(title string, rows []quality.Row) error {
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	line := func(format string, values ...any) { _, _ = fmt.Fprintf(t, format+"\n", values...) } // Flush reports the error
	line("%s", title)
	line("\tsteps\tpasses run\treused\tgated\ttime\tlatents' error\tframes' PSNR\tcompared with")
	for _, r := range rows {
		time, psnr, against := "", "", ""
		if r.Latents > 0 {
			against = cmp.Or(r.Against, rows[0].Name)
		}
		if r.Seconds > 0 {
			time = fmt.Sprintf("%.2f", r.Seconds/rows[0].Seconds)
		}
		if r.PSNR > 0 {
			psnr = fmt.Sprintf("%.1f dB", r.PSNR)
		}
		line("%s\t%d\t%d\t%d\t%d\t%s\t%.2g\t%s\t%s", r.Name, r.Steps, r.Passes.Run, r.Passes.Reused, r.Passes.Gated, time, r.Latents, psnr, against)
	}
	line("")
	return t.Flush()
}
