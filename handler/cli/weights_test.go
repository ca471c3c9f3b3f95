package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/humo-worker/humo-worker/inference/weights"
	"github.com/humo-worker/humo-worker/inference/weights/pull/hubtest"
)

const goldenWeights = "../../testdata/golden/dev/weights"

// wantedRows are the table's or, for a script that has a hub, those of what that hub publishes.
func wantedRows(variant string, separator bool) ([]weights.File, error) {
	if dir := os.Getenv("HUB_PUBLISHES"); dir != "" {
		return hubtest.Rows(dir, variant, separator)
	}
	return weights.Wanted(variant, separator)
}

// TestWeightsScripts runs the scripts that have a stand-in of the hub, which publishes the golden weights.
func TestWeightsScripts(t *testing.T) {
	published, err := filepath.Abs(goldenWeights)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/weights",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			hub := hubtest.Start()
			e.Defer(hub.Close)
			for _, name := range []string{"HF_ENDPOINT", "HUB"} {
				e.Setenv(name, hub.URL)
			}
			e.Setenv("HF_HOME", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("HUB_PUBLISHES", published)
			e.Setenv("GOLDEN", published)
			worker, err := exec.LookPath("humo-worker")
			if err != nil {
				return err
			}
			e.Setenv("HUMO", worker) // for scripts without a PATH
			_, err = hub.AddFolder(published)
			return err
		},
	})
}
