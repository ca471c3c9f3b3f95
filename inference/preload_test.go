package inference

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/readahead"
)

// Prepare leaves a reader behind that reads what the networks use, in their order, and no more.
func TestPreload(t *testing.T) {
	e := openEngine(t)
	if err := e.Prepare(t.Context(), Variant1B); err != nil {
		t.Fatal(err)
	}
	if r, err := e.ReadAhead(t.Context()); err != nil || r != (ReadAhead{}) {
		t.Errorf("without preloading %+v, %v", r, err)
	}
	if e.models[Variant1B].Text.network != nil {
		t.Error("without preloading the text encoder was opened")
	}
	e.ahead.on = true
	for range 2 { // a second call begins anew
		if err := e.Prepare(t.Context(), Variant1B); err != nil {
			t.Fatal(err)
		}
	}
	ranges, err := e.WeightsInUse(Variant1B)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := e.ReadAhead(t.Context()); err != nil || r.Bytes != readahead.Total(ranges) || r.Wanted != r.Bytes || r.Bytes == 0 {
		t.Errorf("%+v of %d, %v", r, readahead.Total(ranges), err)
	}
	var order []string
	for _, r := range ranges {
		if !slices.Contains(order, r.File) {
			order = append(order, r.File)
		}
	}
	if len(order) != 4 {
		t.Fatalf("%d files: %v", len(order), order)
	}
	f := e.models[Variant1B].Files
	for i, file := range []string{f.UMT5, f.Whisper, f.VAE, f.DiT} {
		if real(t, file) != order[i] {
			t.Errorf("file %d is %s, want %s", i, order[i], file)
		}
	}
}

// The reader ends with the engine, and a wait for it with its context.
func TestPreloadEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var p preloader
	long := make([]readahead.Range, 1_000_000)
	for i := range long {
		long[i] = readahead.Range{File: "preload_test.go", Bytes: 1}
	}
	p.start(long, 1<<40, func(ReadAhead) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.wait(ctx); err == nil {
		t.Error("the wait outlived its context")
	}
	p.close()
	if r, err := p.wait(t.Context()); err != nil || r.Bytes >= r.Wanted {
		t.Errorf("%+v, %v: it was not stopped", r, err)
	}
	p.close() // again
}

func TestPreloadSetting(t *testing.T) {
	for _, good := range []Preload{"", "none", "auto"} {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
	if err := Preload("all").Validate(); fault.CodeOf(err) != "invalid_setting" {
		t.Errorf("got %v", err)
	}
}

// real is the file behind links, as checkpoints name it.
func real(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
