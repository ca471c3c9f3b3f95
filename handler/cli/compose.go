package cli

import (
	"context"
	"io"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/parity"
	"github.com/humo-worker/humo-worker/inference/weights"
)

// realRooms puts the real rooms together: the only place that does.
func realRooms() Rooms {
	return Rooms{
		OpenEngine: func(s Settings, log zerolog.Logger) (Engine, error) {
			return inference.Open(s.Inference, log)
		},
		WriteDemo: weights.WriteDemo,
		Parity:    runParity,
	}
}

// runParity runs the set in dir on the set's own weights.
func runParity(ctx context.Context, s Settings, log zerolog.Logger, dir string, out io.Writer) (failed int, err error) {
	config := s.Inference
	config.Weights = weights.Config{Root: filepath.Join(dir, "weights")}
	engine, err := inference.Open(config, log)
	if err != nil {
		return 0, err
	}
	_, failed, err = parity.Run(ctx, engine, dir, out)
	if closeErr := engine.Close(); err == nil {
		err = closeErr
	}
	return failed, err
}
