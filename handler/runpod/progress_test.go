package runpod_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

func TestCheck36_ProgressIsThinned(t *testing.T) {
	t.Parallel()
	b := newBench(t, "WORKER_PROGRESS_MIN_INTERVAL=1s")
	b.Give("a", `{}`)
	b.start(func(ctx context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		for i := range 1000 {
			r.Progress(map[string]any{"stage": "denoise", "step": i})
			if i%100 == 99 {
				time.Sleep(20 * time.Millisecond)
			}
		}
		select {
		case <-time.After(1500 * time.Millisecond):
		case <-ctx.Done():
		}
		return runpod.Result{}, nil
	})
	b.AwaitResult(t, "a")
	posts := b.Requests(progress)
	if n := len(posts); n < 1 || n > 2 {
		t.Fatalf("%d progress posts", n)
	}
	if got, want := string(posts[len(posts)-1].Body), `{"status":"IN_PROGRESS","output":{"stage":"denoise","step":999}}`; got != want {
		t.Errorf("the last one is %s, want %s", got, want)
	}
	if !strings.HasSuffix(posts[0].RawQuery, "&isStream=false") {
		t.Errorf("the query is %s", posts[0].RawQuery)
	}
}

func TestCheck36_StagesAreNotThinned(t *testing.T) {
	t.Parallel()
	b := newBench(t, "WORKER_PROGRESS_MIN_INTERVAL=1h")
	b.Give("a", `{}`)
	b.start(func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		for _, stage := range []string{"text", "denoise", "encode"} {
			for step := range 3 {
				r.Progress(map[string]any{"stage": stage, "step": step})
				time.Sleep(30 * time.Millisecond)
			}
		}
		r.Progress(strings.Repeat("x", 10_000)) // too large to be sent
		return runpod.Result{}, nil
	})
	b.AwaitResult(t, "a")
	var got []string
	for _, p := range b.Requests(progress) {
		got = append(got, string(p.Body))
	}
	for _, stage := range []string{"text", "denoise", "encode"} {
		if !slices.ContainsFunc(got, func(body string) bool { return strings.Contains(body, fmt.Sprintf(`"stage":%q`, stage)) }) || len(got) != 3 {
			t.Errorf("the progress posts are %q", got)
		}
	}
}

func TestCheck37_ProgressBeforeResult(t *testing.T) {
	t.Parallel()
	for name, delay := range map[string]time.Duration{"answered": 300 * time.Millisecond, "abandoned": time.Minute} {
		b := newBench(t)
		b.worker.Config.Timing.ProgressTimeout = time.Second
		b.worker.Config.Timing.ProgressSettle = 300 * time.Millisecond
		b.Always(progress, reply{Delay: delay, After: true})
		b.Give("a", `{}`)
		b.start(func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
			r.Progress(1)
			time.Sleep(100 * time.Millisecond) // the post is under way
			r.Progress(2)
			return runpod.Result{}, nil
		})
		b.AwaitResult(t, "a") // the server complains about a result beside or before a progress post
		posts, end := b.Requests(progress), b.Requests(final)[0].At
		if len(posts) != 1 {
			t.Errorf("%s: %d progress posts", name, len(posts))
		}
		if settled := end.Sub(posts[0].Ended); settled < 0 || name == "abandoned" && settled < 250*time.Millisecond {
			t.Errorf("%s: the result was posted %s after the progress post had ended", name, settled)
		}
	}
}

func TestCheck38_ProgressFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Always(progress, reply{Status: 500})
	b.Give("a", `{}`)
	b.start(func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		r.Progress(1)
		time.Sleep(100 * time.Millisecond)
		return runpod.Result{}, nil
	})
	if got := b.AwaitResult(t, "a"); got != `{"output":null}` {
		t.Errorf("the result is %s", got)
	}
	if n := len(b.Requests(progress)); n != 1 {
		t.Errorf("%d progress posts: a failed one is not repeated", n)
	}
}

func TestCheck39_NoProgressInTheHarness(t *testing.T) {
	t.Parallel()
	for _, change := range []string{"RUNPOD_WEBHOOK_POST_OUTPUT=http://{host}/v2/IDE/job-done/$RUNPOD_POD_ID/$ID?gpu=A", "RUNPOD_TEST=true", "WORKER_PROGRESS=off"} {
		b := newBench(t)
		env := append(b.Env(), "WORKER_STATE_DIR="+t.TempDir(), strings.ReplaceAll(change, "http://{host}", b.URL))
		config, err := runpod.ReadConfig(env)
		if err != nil {
			t.Fatal(err)
		}
		b.worker.Config = config
		b.Give("a", `{}`)
		b.start(func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
			r.Progress(1)
			time.Sleep(50 * time.Millisecond)
			return runpod.Result{}, nil
		})
		b.AwaitResult(t, "a")
		if n := len(b.Requests(progress)); n > 0 {
			t.Errorf("%s: %d progress posts", change, n)
		}
	}
}

func TestCheck40_Stream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Script(runpodtest.Chunk, reply{Status: 503})
	b.Give("a", `{}`)
	var after error
	var kept runpod.Reporter
	b.start(func(_ context.Context, _ runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		kept = r
		for i := range 3 {
			if err := r.Stream(map[string]any{"n": i}); err != nil {
				return runpod.Result{}, err
			}
		}
		if r.Stream(strings.Repeat("x", 2_000_000)) == nil {
			t.Error("a chunk of 2 MB is taken")
		}
		return runpod.Result{}, nil
	})
	if got, want := b.AwaitResult(t, "a"), `{"output":[{"n":0},{"n":1},{"n":2}]}`; got != want {
		t.Errorf("the result is %s, want %s", got, want)
	}
	if q := b.Requests(final)[0].RawQuery; q != runpodtest.Query+"&isStream=true" {
		t.Errorf("the result's query is %s", q)
	}
	var got []string
	for _, c := range b.Requests(runpodtest.Chunk) {
		if c.Status == 200 {
			got = append(got, c.RawQuery+string(c.Body))
		}
	}
	var want []string
	for i := range 3 {
		want = append(want, fmt.Sprintf(`%s&isStream=false{"output":{"n":%d}}`, runpodtest.Query, i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the chunks are %q, want %q", got, want)
	}
	if after = kept.Stream(1); after == nil {
		t.Error("a chunk is taken after the job's end")
	}
}
