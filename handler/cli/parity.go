package cli

import (
	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/inference"
)

func (a *App) parity() *cobra.Command {
	var dtype string
	cmd := &cobra.Command{
		Use:   "parity DIR",
		Short: "Compare with the reference: run the golden cases in DIR, a line each with its largest error",
		Long: `Compare with the reference: run every case of DIR/cases/index.json on DIR/weights and print a line each with its
largest error and its tolerance, a total last. The exit code is 1 if a case fails or is not known.

In fp16 and bf16 the transformer's results are held to bounds for these types: L2 is the relative L2 error of a forward,
1-cos one less the cosine of final latents. All else, and everything in fp32, is held to the cases' own tolerances; so
cards compute what is float32 without TensorFloat-32 here. On a CPU the 16 bits are emulated.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, log, err := a.start(a.Stderr, "")
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("dtype") {
				settings.Inference.Device.DType = inference.DType(dtype)
			}
			settings.Inference.ORT.CUDA.NoTF32 = true
			failed, err := a.Rooms.Parity(cmd.Context(), settings, log, args[0], a.Stdout)
			if err == nil && failed > 0 {
				err = errReported // the lines say which
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dtype, "dtype", "", "fp32, fp16, bf16 or auto (default: HUMO_DTYPE)")
	return cmd
}
