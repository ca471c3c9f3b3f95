package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *App) weights() *cobra.Command {
	weights := &cobra.Command{
		Use:   "weights",
		Short: "Get model weights",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
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
	weights.AddCommand(demo)
	return weights
}
