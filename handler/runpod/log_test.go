package runpod_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler/runpod"
	"github.com/humo-worker/humo-worker/handler/runpod/runpodtest"
)

func TestCheck55_LogLines(t *testing.T) {
	t.Parallel()
	b := newBench(t, "RUNPOD_LOG_LEVEL=WARNING")
	b.GiveRaw(`{"id":"a","input":{},"batchId":"b7"}`)
	b.start(func(_ context.Context, job runpod.Job, _ runpod.Reporter) (runpod.Result, error) {
		log := b.worker.Log.With().Str("job", job.ID).Str("batchId", job.BatchID).Logger()
		log.Debug().Msg("not at this level")
		log.Warn().Int("step", 3).Str("text", "two words").Msg("halfway")
		log.Error().Msg(strings.Repeat("é", 5000))
		b.worker.Log.Warn().Msg("of no job")
		return runpod.Result{}, nil
	})
	b.AwaitResult(t, "a")
	if err := b.end(); err != nil {
		t.Error(err)
	}
	var got []string
	for l := range strings.Lines(b.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(l), &fields); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if len(fields) != 3 {
			t.Errorf("the line has other fields than requestId, message and level: %s", l)
		}
		got = append(got, fmt.Sprint(fields["level"], " ", fields["requestId"], " ", fields["message"]))
	}
	long := "ERROR a " + "[batchId=b7] " + strings.Repeat("é", 2048-13) + "\n...TRUNCATED 917 CHARACTERS...\n" + strings.Repeat("é", 2048)
	if diff := cmp.Diff([]string{`WARN a [batchId=b7] halfway step=3 text="two words"`, long, "WARN <nil> of no job"}, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

func TestCheck55_LinesForPeople(t *testing.T) {
	var out bytes.Buffer
	config, err := runpod.ReadConfig([]string{"RUNPOD_LOG_LEVEL=nonsense"})
	if err != nil {
		t.Fatal(err)
	}
	log := runpod.NewLog(&out, config, nil)
	log.Info().Str("job", "j1").Msg("Started.")
	log.Debug().Msg("not shown: an unknown level is INFO")
	log.Error().Err(errors.New("no such file")).Msg("No.")
	if got, want := out.String(), "INFO   | j1 | Started.\nERROR  | No. error=\"no such file\"\n"; got != want {
		t.Errorf("the log is %q, want %q", got, want)
	}
	for name, want := range map[string]zerolog.Level{"": zerolog.InfoLevel, "warning": zerolog.WarnLevel, "CRITICAL": zerolog.ErrorLevel, "trace": zerolog.TraceLevel, "2": zerolog.DebugLevel, "NOTSET": zerolog.Disabled} {
		if got, known := (runpod.Config{LogLevel: name}).Level(); got != want || !known {
			t.Errorf("level %q is %v, %v; want %v", name, got, known, want)
		}
	}
	if got, _ := (runpod.Config{DebugLevel: "ERROR"}).Level(); got != zerolog.ErrorLevel {
		t.Errorf("RUNPOD_DEBUG_LEVEL is not used: %v", got)
	}
}

// TestCheck56_NoSecrets lets secrets into everything that a handler can say.
func TestCheck56_NoSecrets(t *testing.T) {
	t.Parallel()
	const canary = "CANARY"
	const access, secret = "AKIACANARY1", `se/cret+"CANARY2`
	b := newBench(t, "MY_SERVICE_TOKEN=tokenCANARY3")
	b.worker.Log = runpod.NewLog(&b.log, b.worker.Config, append(b.Env(), "MY_SERVICE_TOKEN=tokenCANARY3"))
	s3, err := json.Marshal(map[string]string{"accessId": access, "accessSecret": secret, "bucketName": "bucket", "endpointUrl": "https://s3"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"error", "panic", "business", "badS3"} {
		config := string(s3)
		if id == "badS3" {
			config = `["` + access + `"]`
		}
		b.GiveRaw(fmt.Sprintf(`{"id":%q,"input":{"password":"inputCANARY"},"s3Config":%s}`, id, config))
	}
	b.start(func(_ context.Context, job runpod.Job, r runpod.Reporter) (runpod.Result, error) {
		if job.S3.BucketName != "bucket" || string(job.S3.AccessSecret) != secret {
			t.Errorf("s3Config arrives as %+v", job.S3)
		}
		leak := fmt.Sprintf("%s %s tokenCANARY3 %+v https://b/k?X-Amz-Credential=%s%%2F2026&X-Amz-Signature=sigCANARY&x=1", job.S3.AccessID, job.S3.AccessSecret, job.S3, access)
		leak += " " + string(job.S3.AccessID) + " " + string(job.S3.AccessSecret) + " " + runpodtest.Key + "CANARY"[:0]
		quoted, _ := json.Marshal(leak)
		log := b.worker.Log.With().Str("job", job.ID).Logger()
		log.Info().Str("url", leak).Bytes("quoted", quoted).Msg(leak)
		r.Progress(map[string]any{"detail": leak, "raw": json.RawMessage(quoted)})
		time.Sleep(50 * time.Millisecond)
		switch job.ID {
		case "panic":
			panic(leak)
		case "business":
			return runpod.Result{}, &runpod.JobError{Code: "upload_failed", Message: "No: " + leak, Details: map[string]any{"detail": leak}, Err: errors.New(leak)}
		}
		return runpod.Result{}, fmt.Errorf("uploading: %w", errors.New(leak))
	})
	said := ""
	for _, id := range []string{"error", "panic", "business", "badS3"} {
		errorOf(t, b.AwaitResult(t, id))
		said += b.Result(id)
	}
	for _, p := range b.Requests(progress) {
		said += string(p.Body)
	}
	if err := b.end(); err != nil {
		t.Error(err)
	}
	said += b.log.String()
	for {
		at := strings.Index(said, canary)
		if at < 0 {
			break
		}
		t.Errorf("a secret shows: …%s…", said[max(0, at-60):min(len(said), at+30)])
		said = said[at+1:]
	}
	if !strings.Contains(b.log.String(), "&x=1") || !strings.Contains(b.log.String(), "REDACTED") {
		t.Error("the log does not hold what was said")
	}
}

// TestCheck56_OutputsAreKept: a result's signed address is what the client asked for.
func TestCheck56_OutputsAreKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Give("a", `{}`)
	b.start(answers("https://b/k?X-Amz-Signature=abc", nil))
	if got := b.AwaitResult(t, "a"); got != `{"output":"https://b/k?X-Amz-Signature=abc"}` {
		t.Errorf("the result is %s", got)
	}
}
