package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/weights"
)

func (a *App) packWeights() *cobra.Command {
	var format, dir, variant string
	cmd := &cobra.Command{
		Use:   "pack --dtype bf16|fp16 [--dir DIR] [--variant 1.7B|17B]",
		Short: "Write a copy of the transformer in half the bytes, for slow volumes",
		Long: `Write a copy of the transformer whose matrices are rounded to 16 bits, beside the published file, which stays. A worker
uses it with HUMO_PACKED set to the same format, as long as the published file is the one that it was made of. Clips are
then close to those of the published file, and no longer equal to the last bit.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := newDisplay(a.Stderr, a.Stderr)
			settings, log, err := a.start(show, "")
			if err != nil {
				return err
			}
			said := int64(-1)
			progress := func(done, total int64) {
				const every = 10 // per cent
				if now := 100 / every * done / max(total, 1); now > said {
					said = now
					log.Info().Msgf("Packing: %s of %s.", weights.Size(done), weights.Size(total))
				}
			}
			layout := weights.Locate(weightsDir(settings, dir))
			r, err := inference.Pack(cmd.Context(), layout, inference.Variant(variant), format, progress)
			if err != nil {
				return err
			}
			what := "written"
			if r.Already {
				what = "there already"
			}
			_, err = fmt.Fprintf(a.Stdout, "%s is %s: %s instead of %s. Use it with  HUMO_PACKED=%s\n", r.Path, what, weights.Size(r.Bytes), weights.Size(r.Read), format)
			return err
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&format, "dtype", "", "bf16 or fp16")
	flags.StringVar(&dir, "dir", "", "the folder of the weights (default $HUMO_WEIGHTS)")
	flags.StringVar(&variant, "variant", string(inference.Variant1B), "1.7B or 17B")
	if err := cmd.MarkFlagRequired("dtype"); err != nil {
		panic(err) // the flag above has another name
	}
	return cmd
}
