package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// rootFlags are the flags of RunPod's worker, under RunPod's names.
type rootFlags struct {
	testInput      string
	logLevel       string
	debugger       bool
	serveAPI       bool
	apiPort        int
	apiHost        string
	apiConcurrency int
}

func (f *rootFlags) bind(set *pflag.FlagSet) {
	set.SortFlags = false
	set.StringVar(&f.testInput, "test_input", "", "the job to run: its `JSON`, or a file that holds it (FILE or @FILE)")
	set.StringVar(&f.logLevel, "rp_log_level", "", "ERROR, WARN, INFO, DEBUG or TRACE; wins over RUNPOD_LOG_LEVEL")
	set.BoolVar(&f.debugger, "rp_debugger", false, "accepted for RunPod's sake, without effect")
	set.BoolVar(&f.serveAPI, "rp_serve_api", false, "serve RunPod's endpoint API and a page on this machine, instead of a queue")
	set.IntVar(&f.apiPort, "rp_api_port", 8000, "port of the API")
	set.StringVar(&f.apiHost, "rp_api_host", "localhost", "host of the API; any but this machine's own demands LOCAL_API_KEY")
	set.IntVar(&f.apiConcurrency, "rp_api_concurrency", 1, "jobs of the API at the same time")
}

// knownArgs treats the arguments before a command's name as RunPod's worker does: -name is --name, and what is not
// known is ignored, together with a value that may belong to it. A misspelt command is not ignored.
func knownArgs(root *cobra.Command, args []string) (known, ignored []string) {
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			return append(known, args[i:]...), ignored
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		takesNext := !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-")
		switch flag := lookup(root, name); {
		case flag == nil:
			ignored = append(ignored, arg)
			if takesNext && !isCommand(root, args[i+1]) {
				i++
				ignored = append(ignored, args[i])
			}
		case hasValue || flag.NoOptDefVal != "":
			known = append(known, "--"+flag.Name+strings.TrimPrefix(strings.TrimLeft(arg, "-"), name))
		default:
			known = append(known, "--"+flag.Name)
			if i+1 < len(args) { // a value may begin with a dash
				i++
				known = append(known, args[i])
			}
		}
	}
	return known, ignored
}

func lookup(root *cobra.Command, name string) *pflag.Flag {
	if name == "" {
		return nil
	}
	if len(name) == 1 {
		return root.Flags().ShorthandLookup(name)
	}
	return root.Flags().Lookup(name)
}

func isCommand(root *cobra.Command, name string) bool {
	if name == "help" || name == "completion" {
		return true
	}
	for _, c := range root.Commands() {
		if c.Name() == name {
			return true
		}
	}
	return false
}
