package runpod_test

import (
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

// TestCheck62_Harness is the environment of RunPod's Hub tests: no key, no ping, no stream, no query in the take address.
func TestCheck62_Harness(t *testing.T) {
	t.Parallel()
	s := runpodtest.Start(t)
	s.Open = true
	c := newChild(t, s)
	base := s.URL + "/v2/IDE"
	c.env = append(c.env[:4:4], "RUNPOD_LOG_LEVEL=INFO", "RUNPOD_ENDPOINT_BASE_URL="+base,
		"RUNPOD_WEBHOOK_GET_JOB="+base+"/job-take/$RUNPOD_POD_ID",
		"RUNPOD_WEBHOOK_POST_OUTPUT="+base+"/job-done/$RUNPOD_POD_ID/$ID?gpu=$RUNPOD_GPU_TYPE_ID")
	s.GiveRaw(`{"id":"0","input":{"ms":100},"error":"","status":200,"executionTime":30000,"delayTime":1,"retries":0}`)
	s.GiveRaw(`{"id":"1","input":{"do":"fail"},"error":"","status":200,"executionTime":30000}`)
	cmd := c.start("sh", "-c", `exec "$0"`)
	if got := read(t, s.AwaitResult(t, "0")); got.Error != nil || len(got.Output) == 0 {
		t.Errorf("the first result is %s", s.Result("0"))
	}
	errorOf(t, s.AwaitResult(t, "1"))
	polls := len(s.Requests(take))
	s.Until(t, func() bool { return len(s.Requests(take)) >= polls+3 }, "further polls")
	if n := len(s.Requests(ping)) + len(s.Requests(progress)); n > 0 {
		t.Errorf("%d pings and progress posts", n)
	}
	if p := s.Requests(take)[0]; p.RawQuery != "job_in_progress=0" || p.Worker == "" {
		t.Errorf("the poll is %s?%s", p.Path, p.RawQuery)
	}
	c.terminate(cmd, 0)
}

func TestConfigIsChecked(t *testing.T) {
	bad, err := runpod.ReadConfig([]string{"WORKER_CONCURRENCY=0", "WORKER_PROGRESS=maybe", "WORKER_SHUTDOWN_RESULT=x", "WORKER_JOB_TIMEOUT=-1s",
		"WORKER_MAX_RESULT_BYTES=1", "RUNPOD_MIN_CUDA_VERSION=new", "RUNPOD_WEBHOOK_PING=ftp://x"})
	if err != nil {
		t.Fatal(err)
	}
	err = bad.Validate()
	for _, name := range []string{"RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_POST_OUTPUT", "WORKER_CONCURRENCY", "WORKER_PROGRESS", "WORKER_SHUTDOWN_RESULT",
		"WORKER_JOB_TIMEOUT", "WORKER_MAX_RESULT_BYTES", "RUNPOD_MIN_CUDA_VERSION", "RUNPOD_WEBHOOK_PING"} {
		if err == nil || !contains(err, name) {
			t.Errorf("nothing is said about %s: %v", name, err)
		}
	}
	if config, err := runpod.ReadConfig(runpodtest.Start(t).Env()); err != nil || config.Validate() != nil {
		t.Errorf("RunPod's own environment is refused: %v, %v", err, config.Validate())
	} else if config.ResultRetryWindow != 10*time.Minute || config.Concurrency != 1 || !config.EagerTake || config.Fitness.MinMemoryGB != 4 {
		t.Errorf("the defaults are %+v", config)
	}
}
