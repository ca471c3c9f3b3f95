// Package cli is the command line: commands, flags, what they print and the exit code. It promises RunPod's flags and
// lines for a local test run, and puts the rooms together.
//
// It does nothing itself: what a job is belongs to handler, what a clip is to inference.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/handler"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// Engine is an open engine.
type Engine interface {
	handler.Engine
	io.Closer

	// Prepare makes ready what clips of a variant need, so that the first does not wait for it.
	Prepare(ctx context.Context, v inference.Variant) error

	// Machine is what computes.
	Machine() inference.Machine
}

// Rooms is what the commands need of the other rooms.
type Rooms struct {
	OpenEngine func(Settings, zerolog.Logger) (Engine, error)
	Examine    func(Settings, zerolog.Logger) (Examiner, error)
	WriteDemo  func(dir string) error
	Wanted     func(variant string, separator bool) ([]weights.File, error) // the files to pull
	Parity     func(ctx context.Context, s Settings, log zerolog.Logger, dir string, out io.Writer) (failed int, err error)
}

// App is the program.
type App struct {
	Version string
	Rooms   Rooms
	Environ []string // as os.Environ
	Stdout  io.Writer
	Stderr  io.Writer
}

// Main runs the program with the real rooms on the process's arguments and returns its exit code.
func Main(version string) int {
	return (&App{Version: version, Rooms: realRooms(), Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}).Run(os.Args[1:])
}

// errReported ends a command whose failure has been printed.
var errReported = errors.New("reported")

// interrupted is why a context ended: a signal. Its first occurrence ends the work in order, a second one the process.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string { return i.signal.String() }

// line is RunPod's.
func (i interrupted) line() string {
	name := "SIGTERM"
	if i.signal == os.Interrupt {
		name = "SIGINT"
	}
	return name + " received. Shutting down."
}

// Is makes it a cancellation to the other rooms.
func (i interrupted) Is(target error) bool { return target == context.Canceled }

// Run runs one command. The exit code is 0; 1 after a failure, bad arguments included; or 128 + the signal's number, as a
// shell has it, when a signal ended the work.
func (a *App) Run(args []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals) // from now on a signal kills
			cancel(interrupted{s})
		case <-ctx.Done():
		}
	}()

	root := a.root()
	args, ignored := knownArgs(root, args)
	root.SetArgs(args)
	root.SetContext(context.WithValue(ctx, ignoredKey{}, ignored))
	err := root.Execute()
	log := newLogger(a.Stderr, zerolog.InfoLevel)
	stop, wasInterrupted := errors.AsType[interrupted](context.Cause(ctx))
	switch {
	case err == nil:
		return 0
	case wasInterrupted:
		if !errors.Is(err, errReported) {
			log.Info().Msg(stop.line())
		}
		if s, ok := stop.signal.(syscall.Signal); ok {
			return 128 + int(s)
		}
		return 1
	case !errors.Is(err, errReported):
		reportFailure(log, err)
	}
	return 1
}

type ignoredKey struct{}

// root is the command without a name: the worker, and without a queue the local test run.
func (a *App) root() *cobra.Command {
	var flags rootFlags
	root := &cobra.Command{
		Use:   "humo-worker",
		Short: "Videos of speaking people from a prompt, a voice track and pictures, with HuMo",
		Long: `Videos of speaking people from a prompt, a voice track and pictures, with HuMo.

Without a command this is the RunPod worker. Outside of RunPod it is RunPod's local test run: it handles one job, given
by --test_input, else by ./test_input.json, else by ./testinput/test_input.json, and prints RunPod's lines.`,
		Version:       a.Version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ignored, _ := cmd.Context().Value(ignoredKey{}).([]string)
			return a.work(cmd.Context(), flags, ignored)
		},
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetVersionTemplate("humo-worker {{.Version}}\n")
	flags.bind(root.Flags())
	root.AddCommand(a.generate(), a.schema(), a.weights(), a.parity(), a.doctor(), a.bench(), a.version())
	return root
}

// reportFailure logs an error for whoever started the program: a line per problem, causes included.
func reportFailure(log zerolog.Logger, err error) {
	for _, p := range handler.ProblemsOf(err) {
		if p.Code == handler.CodeInternal { // nobody wrote a sentence for it
			log.Error().Msg(p.Err.Error())
			continue
		}
		log.Error().Str("code", p.Code).Msg(p.Error())
	}
}
