package cli

import (
	"github.com/spf13/cobra"
)

func (a *App) parity() *cobra.Command {
	return &cobra.Command{
		Use:   "parity DIR",
		Short: "Compare with the reference: run the golden cases in DIR, a line each with its largest error",
		Long: `Compare with the reference: run every case of DIR/cases/index.json on DIR/weights and print a line each with its
largest error and its tolerance, a total last. The exit code is 1 if a case fails or is not known.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, log, err := a.start(a.Stderr, "")
			if err != nil {
				return err
			}
			failed, err := a.Rooms.Parity(cmd.Context(), settings, log, args[0], a.Stdout)
			if err == nil && failed > 0 {
				err = errReported // the lines say which
			}
			return err
		},
	}
}
