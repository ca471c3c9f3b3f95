// Command humo-worker makes videos of speaking people from a prompt, a voice track and pictures, with HuMo, as a RunPod
// serverless worker or from the command line. See README.md.
package main

import (
	"os"

	"github.com/humo-worker/humo-worker/handler/cli"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(cli.Main(version))
}
