package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/handler"
)

// schema prints what a job's input may be, for forms, editors and other programs.
func (a *App) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a job's input, with this endpoint's defaults",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			settings, _, err := a.start(a.Stderr, "")
			if err != nil {
				return err
			}
			text, err := handler.Schema(settings.Jobs)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "%s\n", text)
			return err
		},
	}
}
