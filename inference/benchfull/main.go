// Command benchfull measures one denoising step and a VAE decode at the real size of the 1.7B: random weights in the
// published formats (7.5 GB, in a temporary folder), 480x832, 5 frames. It prints seconds and peak memory, told apart into
// anonymous memory and mapped pages, which the system may drop at any time.
//
// It is a measuring tool: nothing imports it and no test runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/memory"
	"github.com/humo-worker/humo-worker/inference/ort"
	"github.com/humo-worker/humo-worker/inference/weights"
)

func main() {
	dir := flag.String("dir", "", "folder for the weights, kept afterwards and used again; empty: a temporary one")
	width, height := flag.Int("width", 832, "pixels"), flag.Int("height", 480, "pixels")
	frames := flag.Int("frames", 5, "video frames")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *width, *height, *frames); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, width, height, frames int) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "humo-benchfull-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	}
	if _, err := weights.Locate(dir).Require(string(inference.Variant1B)); err != nil {
		began := time.Now()
		if err := weights.WriteSynthetic(dir, weights.BenchDims()); err != nil {
			return err
		}
		fmt.Printf("weights written in %.0f s\n", time.Since(began).Seconds())
	}
	e, err := inference.Open(inference.Config{Weights: weights.Config{Root: dir}, ORT: ort.Config{Library: os.Getenv("ONNXRUNTIME_LIB")}}, zerolog.Nop())
	if err != nil {
		return err
	}
	latents, err := denoise(ctx, e, width, height, frames)
	if err != nil {
		return err
	}
	if err := decode(ctx, e, latents); err != nil {
		return err
	}
	return e.Close()
}

// denoise runs one step of the 1.7B's TA plan: three passes.
func denoise(ctx context.Context, e *inference.Engine, width, height, frames int) (*inference.Latent, error) {
	wave := make([]float32, 16000)
	for i := range wave {
		wave[i] = float32(math.Sin(float64(i)/20) / 4)
	}
	s := inference.Spec{Variant: inference.Variant1B, Mode: inference.TA, Prompt: "a person speaks", Frames: frames, Width: width, Height: height,
		FPS: 25, Steps: 1, Shift: 5, Seed: 1, ScaleT: 7.5, ScaleA: 7.5}
	var passes []time.Time
	m := memory.Watch()
	latents, err := e.Denoise(ctx, &s, &inference.Material{Wave: wave}, func(stage inference.Stage) func(int, int) {
		if stage == inference.StageDenoise {
			m.Reset()
		}
		return func(int, int) {
			if stage == inference.StageDenoise {
				passes = append(passes, time.Now())
			}
		}
	})
	peak := m.Stop()
	if err != nil {
		return nil, err
	}
	tokens := (latents.Frames + 1) * (height / 16) * (width / 16)
	for i := 1; i < len(passes); i++ {
		fmt.Printf("DiT pass %d at %d tokens: %.1f s\n", i, tokens, passes[i].Sub(passes[i-1]).Seconds())
	}
	fmt.Printf("DiT peak: anonymous %.2f GB, mapped files %.2f GB; one head's %d x %d scores would be %.2f GB, all heads' %.2f GB\n",
		gigabytes(peak.Anonymous), gigabytes(peak.File), tokens, tokens, float64(tokens*tokens*4)/1e9, float64(12*tokens*tokens*4)/1e9)
	return latents, nil
}

// decode decodes the clip: the first chunk gives one frame, every further one four.
func decode(ctx context.Context, e *inference.Engine, latents *inference.Latent) error {
	m := memory.Watch()
	last := time.Now()
	err := e.Frames(ctx, inference.Variant1B, latents, func(done, total int) {
		if done > 0 {
			fmt.Printf("VAE chunk %d of %d: %.1f s\n", done, total, time.Since(last).Seconds())
		}
		last = time.Now()
	}, func([]byte) error { return nil })
	peak := m.Stop()
	if err != nil {
		return err
	}
	fmt.Printf("VAE peak: anonymous %.2f GB, resident in all %.2f GB\n", gigabytes(peak.Anonymous), gigabytes(peak.Total))
	return nil
}

func gigabytes(n int64) float64 { return float64(n) / 1e9 }
