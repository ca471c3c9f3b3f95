package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/inference/bench"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// tableFlags are those of the commands that run many measurements.
type tableFlags struct {
	folder, python string
	quick          bool
	anyPython      bool // --python was not given
}

func (a *App) benchTable() *cobra.Command {
	var f tableFlags
	cmd := &cobra.Command{
		Use:   "table [--out DIR]",
		Short: "All measurements of docs/performance.md, in turns with PyTorch",
		Long: `Run all measurements of docs/performance.md, in turns with PyTorch where Python has it, each in a process of its own,
and write them to performance.json and into performance.md of a folder. It takes some 25 minutes on two idle cores, 8 GB of disk
and 9 GB of memory, and the machine should do nothing else.`,
	}
	cmd.Flags().StringVar(&f.folder, "out", "", "the folder of the pages, docs (default: the table is printed)")
	f.command(cmd, a.table, "with demo weights and the smallest sizes: to try the command, the numbers mean nothing")
	return cmd
}

func (a *App) benchCheck() *cobra.Command {
	var f tableFlags
	cmd := &cobra.Command{
		Use:   "check [--table DIR]",
		Short: "Measure again and fail where it got slower than docs/performance.json",
		Long: fmt.Sprintf(`Run the short measurements of docs/performance.json again, and compare what does not depend on how fast the machine
is: the time and peak memory as a part of PyTorch's, where Python has it, and the share of what matrix products reach. Fails
where one is worse by more than %.0f %% three times.`, 100*bench.Tolerance),
	}
	cmd.Flags().StringVar(&f.folder, "table", "docs", "the folder of the stored performance.json")
	f.command(cmd, a.check, "for a table that was made with --quick")
	return cmd
}

// command gives cmd what both commands have: their flags but the folder, and how they run.
func (f *tableFlags) command(cmd *cobra.Command, run func(context.Context, tableFlags) error, quick string) {
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.python, "python", defaultPython, "the Python that has PyTorch")
	flags.BoolVar(&f.quick, "quick", false, quick)
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f.anyPython = !flags.Changed("python")
		return run(cmd.Context(), *f)
	}
}

func (a *App) table(ctx context.Context, f tableFlags) error {
	run, done, err := a.entries(ctx, &f)
	if err != nil {
		return err
	}
	defer done()
	t, failed := bench.MeasureTable(ctx, bench.Entries(f.quick), run)
	if t == nil || len(t.Rows) == 0 {
		return failed
	}
	if f.folder != "" {
		err = t.Save(f.folder)
	} else {
		_, err = fmt.Fprint(a.Stdout, t.Markdown())
	}
	if err != nil {
		return err
	}
	return failed
}

func (a *App) check(ctx context.Context, f tableFlags) error {
	stored, err := bench.ReadTable(filepath.Join(f.folder, bench.TableData))
	if err != nil {
		return err
	}
	run, done, err := a.entries(ctx, &f)
	if err != nil {
		return err
	}
	defer done()
	return bench.Check(ctx, stored, a.Stdout, run)
}

// entries returns what runs an entry of the table in a process of its own; done removes what that needs.
func (a *App) entries(ctx context.Context, f *tableFlags) (run func(context.Context, bench.Entry) (*bench.Report, error), done func(), err error) {
	_, log, err := a.startBench()
	if err != nil {
		return nil, nil, err
	}
	if err := f.findTorch(ctx, log); err != nil {
		return nil, nil, err
	}
	folder := ""
	done = func() { _ = os.RemoveAll(folder) }
	if f.quick {
		if folder, err = os.MkdirTemp("", "humo-bench-table-"); err == nil {
			err = weights.WriteDemo(folder)
		}
		if err != nil {
			done()
			return nil, nil, err
		}
	}
	return func(ctx context.Context, e bench.Entry) (*bench.Report, error) {
		log.Info().Str("measured", e.Name).Str("size", e.Size).Msg("A measurement begins.")
		out, err := a.again(ctx, e.Args(folder, f.python)...)
		if err != nil {
			return nil, err
		}
		r := new(bench.Report)
		if err := json.Unmarshal(out, r); err != nil {
			return nil, fmt.Errorf("the process that measures %s printed no measurement: %w", e.Name, err)
		}
		return r, nil
	}, done, nil
}

// findTorch leaves Python out where it was not asked for and has no PyTorch.
func (f *tableFlags) findTorch(ctx context.Context, log zerolog.Logger) error {
	_, err := os.Stat(torchScript)
	if err == nil && bench.HasTorch(ctx, f.python) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !f.anyPython {
		return fault.New("no_torch", "", "%s has no PyTorch, or this is not the folder of the source code; "+
			"leave --python out to measure without", f.python)
	}
	log.Warn().Str("python", f.python).
		Msg("Python has no PyTorch, or this is not the folder of the source code: nothing is compared with it.")
	f.python = ""
	return nil
}
