package runpod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/humo-worker/humo-worker/handler/runpod"
)

// A whole worker. Deployed on RunPod it needs nothing else; run elsewhere it says what is missing.
func Example() {
	config, err := runpod.ReadConfig(os.Environ())
	if err != nil {
		fmt.Println(err)
		return
	}
	worker := runpod.Worker{Config: config, Handler: func(ctx context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		var input struct{ Name string }
		if err := json.Unmarshal(job.Input, &input); err != nil || input.Name == "" {
			return runpod.Result{}, runpod.Fail("invalid_input", "name is missing: send {\"name\": \"…\"}.")
		}
		r.Progress(map[string]any{"stage": "greeting"})
		return runpod.Result{Output: "Hello, " + input.Name + "!"}, nil
	}}
	fmt.Println("exit code", worker.Main(context.Background()))
	// Output:
	// ERROR  | RUNPOD_WEBHOOK_GET_JOB is not set; RunPod sets it, and without it there is no queue to work for
	// RUNPOD_WEBHOOK_POST_OUTPUT is not set; RunPod sets it, and without it no result can be delivered
	// exit code 1
}
