package cli

import (
	"context"
	"io"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/parity"
	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/storage"
)

// realRooms puts the real rooms together: the only place that does.
func realRooms() Rooms {
	return Rooms{
		OpenEngine: func(s Settings, log zerolog.Logger) (Engine, error) { return openEngine(s, log) },
		Examine:    func(s Settings, log zerolog.Logger) (Examiner, error) { return openEngine(s, log) },
		WriteDemo:  weights.WriteDemo,
		Wanted:     weights.Wanted,
		Parity:     runParity,
	}
}

// openEngine opens the engine on as many cards as the configuration file allows.
func openEngine(s Settings, log zerolog.Logger) (*inference.Engine, error) {
	var err error
	if s.Inference.Device.MaxGPUs, err = s.Jobs.Cards(); err != nil {
		return nil, err
	}
	return inference.Open(s.Inference, log)
}

// store is an open store.
type store interface {
	storage.Store
	io.Closer
}

// openStore opens the bucket when one is meant, else the output folder.
func openStore(s Settings) (store, error) {
	if s.Bucket.Enabled() {
		return storage.OpenS3(s.Bucket)
	}
	return storage.OpenLocal(s.Output)
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
