package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/coldstart"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// coldstartFlags are those of one measurement.
type coldstartFlags struct {
	dir, variant  string
	asJSON        bool
	width, height int
	frames        int
	started       int64 // hidden: this is the process that is measured, started at that time
}

func (a *App) benchColdstart() *cobra.Command {
	var f coldstartFlags
	cmd := &cobra.Command{
		Use:   "coldstart [--dir DIR] [--json]",
		Short: "Time a start: from the process to the first step of the transformer",
		Long: `Time a start, from the process to the end of the first step of the diffusion transformer, split by stage. The weights
are read twice: plainly by parallel readers, then by a new process that works as a worker does, each time after the page
cache was asked to drop them.

Without --dir, weights of the 1.7B's size are written to the temporary folder first (8 GB) and removed afterwards.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, log, err := a.startBench()
			if err != nil {
				return err
			}
			if f.width < 16 || f.height < 16 || f.width%16 != 0 || f.height%16 != 0 || f.frames < 1 {
				return fault.New("bad_size", "", "%dx%d with %d frames is no clip; give --width and --height in multiples of 16, and --frames from 1", f.width, f.height, f.frames)
			}
			if f.started != 0 {
				return a.coldstart(cmd.Context(), settings, f, log)
			}
			return a.compareColdstart(cmd.Context(), settings, f, log)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.dir, "dir", "", "the folder of the weights (default: synthetic ones)")
	flags.StringVar(&f.variant, "variant", string(inference.Variant1B), "1.7B or 17B")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	flags.IntVar(&f.width, "width", 128, "of the clip that is begun, in pixels")
	flags.IntVar(&f.height, "height", 128, "of the clip that is begun, in pixels")
	flags.IntVar(&f.frames, "frames", 5, "of the clip that is begun")
	flags.Int64Var(&f.started, "started", 0, "")
	if err := flags.MarkHidden("started"); err != nil {
		panic(err) // the flag above has another name
	}
	return cmd
}

// compareColdstart measures a plain read and a start.
func (a *App) compareColdstart(ctx context.Context, settings Settings, f coldstartFlags, log zerolog.Logger) (err error) {
	if f.dir == "" {
		if f.variant != string(inference.Variant1B) {
			return fault.New("missing_dir", "", "synthetic weights are of the %s; name the folder of others with --dir", inference.Variant1B)
		}
		if f.dir, err = os.MkdirTemp("", "humo-coldstart-"); err != nil {
			return err
		}
		defer os.RemoveAll(f.dir) //nolint:errcheck // a temporary folder
		log.Info().Str("folder", f.dir).Msg("Synthetic weights are being written, 8 GB.")
		if err := weights.WriteSynthetic(ctx, f.dir, weights.BenchDims()); err != nil {
			return err
		}
	}
	settings.Inference.Weights = weights.Config{Root: f.dir}
	report, err := coldstart.Run(ctx, settings.Inference, inference.Variant(f.variant), log, func(ctx context.Context) (*coldstart.Start, error) {
		return a.startProcess(ctx, f)
	})
	if err != nil {
		return err
	}
	if f.asJSON {
		_, err = fmt.Fprintln(a.Stdout, compact(report))
		return err
	}
	return report.Write(a.Stdout)
}

// coldstart is the measured process: it prints a coldstart.Start.
func (a *App) coldstart(ctx context.Context, settings Settings, f coldstartFlags, log zerolog.Logger) error {
	settings.Inference.Weights = weights.Config{Root: f.dir}
	start, err := coldstart.Measure(ctx, settings.Inference, inference.Variant(f.variant), coldstart.Clip{Width: f.width, Height: f.height, Frames: f.frames},
		time.Unix(0, f.started), log)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.Stdout, compact(start))
	return err
}

// startProcess runs this program again, to be measured.
func (a *App) startProcess(ctx context.Context, f coldstartFlags) (*coldstart.Start, error) {
	out, err := a.again(ctx, "bench", "coldstart", "--dir", f.dir, "--variant", f.variant, "--width", strconv.Itoa(f.width),
		"--height", strconv.Itoa(f.height), "--frames", strconv.Itoa(f.frames), "--started", strconv.FormatInt(time.Now().UnixNano(), 10))
	if err != nil {
		return nil, err
	}
	start := new(coldstart.Start)
	if err := json.Unmarshal(out, start); err != nil {
		return nil, fmt.Errorf("the measured process printed no measurement: %w", err)
	}
	return start, nil
}

// again runs this program again and returns what it printed.
func (a *App) again(ctx context.Context, args ...string) ([]byte, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	child := exec.CommandContext(ctx, program)
	child.Args = append([]string{os.Args[0]}, args...)
	child.Env, child.Stdout, child.Stderr = a.Environ, &out, a.Stderr
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 10 * time.Second
	if err := child.Run(); err != nil {
		if _, ran := errors.AsType[*exec.ExitError](err); ran {
			return nil, errReported // it has said why
		}
		return nil, err
	}
	return out.Bytes(), nil
}
