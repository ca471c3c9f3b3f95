package handler

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/humo-worker/humo-worker/inference"
)

// A worker that ended between the manifest and the removal of its checkpoint leaves that to the next delivery, which is
// answered from the manifest.
func TestForgottenCheckpoint(t *testing.T) {
	b := newBenchWith(t, Config{Variant: inference.Variant1B, CheckpointEvery: 1})
	if _, err := b.handle(t, rejob); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(b.out, "job-1", "checkpoint")
	if err := os.WriteFile(left, []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.handle(t, rejob); err != nil || len(b.engine.specs) != 1 {
		t.Fatalf("%d clips, error %v", len(b.engine.specs), err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the checkpoint is still there: %v", err)
	}
}
