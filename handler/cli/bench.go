package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/bench"
	"github.com/humo-worker/humo-worker/inference/fault"
)

func (a *App) bench() *cobra.Command {
	group := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine",
		Long: `Measure this machine: seconds (median and spread), arithmetic per second, the share of it of what bare matrix products
reach at the same time, and peak memory. Weights of the real shapes are made in the temporary folder and removed again,
or given by --weights.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, m := range measurements {
		group.AddCommand(a.benchNetwork(m))
	}
	group.AddCommand(a.benchColdstart(), a.benchTable(), a.benchCheck(), a.benchQuality())
	return group
}

// measurement is a command that measures a part of the model, with its defaults: what a processor with two cores does in
// some minutes, or a card at the published sizes.
type measurement struct {
	network bench.Network
	short   string
	sizes   []string
	blocks  int
}

var measurements = []measurement{
	{bench.DiT, "A pass of the diffusion transformer", []string{"832x480x1"}, 2},
	{bench.VAE, "The decoding of a clip", []string{"416x240x5"}, 0},
	{bench.Text, "The encoding of a prompt of 512 tokens", []string{"832x480x1"}, 2},
	{bench.Audio, "The encoding of a voice track", []string{"832x480x97"}, 0},
	{bench.E2E, "A clip of one denoising step, from sound to mp4", []string{"256x256x5"}, 2},
	{bench.Products, "Matrix products, which all others are compared with", []string{"832x480x1"}, 0},
	{bench.GPU, "A card: attention and linear layers alone, a pass, the decoding", []string{"1.7B-480p", "17B-480p", "17B-720p"}, 4},
}

// benchFlags are those of one measurement.
type benchFlags struct {
	sizes             []string
	variant           string
	weights, python   string
	blocks, repeats   int
	threads           int
	asJSON, versTorch bool
	parts, int8       bool
	anyVariant        bool // --variant was not given
	probe             bool // hidden: this is the process that is asked for the attention kernel
}

func (a *App) benchNetwork(m measurement) *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   string(m.network) + " [--size SIZE] [--weights DIR] [--json]",
		Short: m.short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.weights != "" && cmd.Flags().Changed("blocks") {
				return fault.New("bad_count", "", "--blocks is for weights that are made; those of --weights are measured as they are")
			}
			f.anyVariant = !cmd.Flags().Changed("variant")
			return a.measure(cmd.Context(), m.network, f)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&f.sizes, "size", m.sizes,
		"1.7B-480p, 17B-480p or 17B-720p, with -FRAMES behind it for less than 97; WIDTHxHEIGHTxFRAMES; or tokens")
	flags.StringVar(&f.variant, "variant", string(inference.Variant1B), "1.7B or 17B, where the size does not say it")
	flags.StringVar(&f.weights, "weights", "", "the folder of the weights (default: weights are made)")
	flags.IntVar(&f.blocks, "blocks", m.blocks, "of a network whose weights are made: as many of its blocks; 0: all")
	flags.IntVar(&f.repeats, "repeats", 3, "runs that count, after one that does not")
	flags.IntVar(&f.threads, "threads", 0, "of the processor (default: HUMO_THREADS)")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, a line per size")
	flags.BoolVar(&f.versTorch, "vs-torch", false, "run the same in PyTorch, in turns; in the folder of the source code")
	flags.StringVar(&f.python, "python", defaultPython, "the Python that has PyTorch, for --vs-torch")
	if m.network == bench.DiT {
		flags.BoolVar(&f.parts, "parts", false, "also what a pass consists of, each part alone")
		flags.BoolVar(&f.int8, "int8", false, "its linear layers in 8 bits, as in fast clips on the CPU")
		cmd.MarkFlagsMutuallyExclusive("parts", "int8")
	}
	if m.network == bench.GPU {
		flags.BoolVar(&f.probe, "probe", false, "")
		if err := flags.MarkHidden("probe"); err != nil {
			panic(err) // the flag above has another name
		}
	}
	return cmd
}

// defaultPython may or may not have PyTorch.
const defaultPython = "python3"

// torchScript is where the source code has the comparison with PyTorch.
var torchScript = filepath.Join("scripts", "bench-torch", "bench.py")

// startBench is start for a measurement, which only needs the engine's settings to be right.
func (a *App) startBench() (Settings, zerolog.Logger, error) {
	settings, log, err := a.start(a.Stderr, "")
	if err == nil {
		err = settings.Inference.Validate()
	}
	return settings, log, err
}

// measure measures a part of the model at every size.
func (a *App) measure(ctx context.Context, n bench.Network, f benchFlags) error {
	settings, log, err := a.start(a.Stderr, "")
	if err != nil {
		return err
	}
	if f.threads != 0 {
		settings.Inference.ORT.Threads = f.threads
	}
	if err := settings.Inference.Validate(); err != nil {
		return err
	}
	var sizes []bench.Size
	for _, text := range f.sizes {
		size, err := bench.ParseSize(text, inference.Variant(f.variant))
		if err != nil {
			return err
		}
		if !f.anyVariant && string(size.Variant) != f.variant {
			return fault.New("bad_variant", "", "the size %s is the %s's; leave --variant %s out, or give another --size", text, size.Variant, f.variant)
		}
		sizes = append(sizes, size)
	}
	if f.probe {
		return bench.ProbeAttention(ctx, settings.Inference, sizes[0], log)
	}
	var tooLarge error
	measured := 0
	for _, size := range sizes {
		o := bench.Options{Size: size, Weights: f.weights, Blocks: f.blocks, Repeats: f.repeats, Parts: f.parts, Int8: f.int8}
		o.Probe = func(ctx context.Context) ([]byte, error) {
			return a.again(ctx, "bench", "gpu", "--probe", "--variant", string(size.Variant), "--size", strconv.Itoa(size.Tokens()))
		}
		if f.versTorch {
			o.Python, o.Script = f.python, torchScript
		}
		report, err := bench.Run(ctx, settings.Inference, n, o, log)
		if bench.TooLarge(err) && len(sizes) > 1 {
			tooLarge = err
			log.Warn().AnErr("reason", err).Str("variant", string(size.Variant)).Stringer("size", size).
				Msg("There is not enough memory for this size.")
			continue
		}
		if err == nil {
			err = a.printReport(report, f.asJSON, measured == 0)
		}
		if err != nil {
			return err
		}
		measured++
	}
	if measured == 0 {
		return tooLarge
	}
	return nil
}

// printReport prints a report; those for people have an empty line in between.
func (a *App) printReport(r *bench.Report, asJSON, first bool) error {
	if asJSON {
		_, err := fmt.Fprintln(a.Stdout, compact(r))
		return err
	}
	if !first {
		if _, err := fmt.Fprintln(a.Stdout); err != nil {
			return err
		}
	}
	return r.Write(a.Stdout)
}
