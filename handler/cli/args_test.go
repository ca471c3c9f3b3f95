package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKnownArgs: RunPod's worker ignores what it does not know, and starters rely on it.
func TestKnownArgs(t *testing.T) {
	root := (&App{}).root()
	for _, c := range []struct{ args, known, ignored string }{
		{"", "", ""},
		{"--test_input x", "--test_input x", ""},
		{"-test_input x", "--test_input x", ""},
		{"-test_input=x=y", "--test_input=x=y", ""},
		{"--test_input -x", "--test_input -x", ""},
		{"--rp_serve_api --rp_api_port 9", "--rp_serve_api --rp_api_port 9", ""},
		{"--rp_serve_api=false", "--rp_serve_api=false", ""},
		{"--unknown", "", "--unknown"},
		{"--unknown value --test_input x", "--test_input x", "--unknown value"},
		{"--unknown=value --rp_debugger", "--rp_debugger", "--unknown=value"},
		{"-u -v", "", "-u -v"},
		{"--unknown generate --prompt p", "generate --prompt p", "--unknown"},
		{"generate --unknown", "generate --unknown", ""}, // its flags are ours alone and are not ignored
		{"genrate", "genrate", ""},
		{"-h", "--help", ""},
		{"--", "", "--"},
	} {
		known, ignored := knownArgs(root, strings.Fields(c.args))
		if diff := cmp.Diff([]string{c.known, c.ignored}, []string{strings.Join(known, " "), strings.Join(ignored, " ")}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.args, diff)
		}
	}
}
