package cli_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/humo-worker/humo-worker/handler/cli"
	"github.com/humo-worker/humo-worker/storage/storagetest"
)

const bucketJob = `{"id": "bucket-job", "input": {"prompt": "CANARY-PROMPT", "audio": "volume:voice.wav", "frames": 5, "width": 64, "height": 32, "steps": 2}}`

// TestCheck57_LinkThatAnybodyCanWatch: with a bucket's variables, a local test run prints a link that anybody can watch.
func TestCheck57_LinkThatAnybodyCanWatch(t *testing.T) {
	server := storagetest.StartS3(t)
	dir := t.TempDir()
	environ := append(server.Environ(), "BUCKET_PREFIX=my videos/ü", "BUCKET_PRESIGN_EXPIRY=3600", "RUNPOD_LOG_LEVEL=TRACE",
		"HUMO_OUTPUT="+filepath.Join(dir, "output"), "HUMO_TMP="+filepath.Join(dir, "tmp"))
	code, out := run(t, environ, "--test_input", writeJob(t, bucketJob))
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out)
	}
	secretFree(t, out, server.SecretAccessKey, "CANARY-PROMPT")

	_, line, _ := strings.Cut(out, "Job result: ")
	var result struct {
		Output struct {
			VideoURL  string    `json:"video_url"`
			ExpiresAt time.Time `json:"expires_at"`
			Key       string
		}
	}
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&result); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if left := time.Until(result.Output.ExpiresAt); left < 55*time.Minute || left > time.Hour {
		t.Errorf("the link ends in %v, want the hour of BUCKET_PRESIGN_EXPIRY", left)
	}
	answer, err := http.Get(result.Output.VideoURL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // only read from
	video, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "video/mp4" {
		t.Fatalf("status %d, %s, error %v: %.300s", answer.StatusCode, answer.Header.Get("Content-Type"), err, video)
	}
	file := filepath.Join(dir, "video.mp4")
	if err := os.WriteFile(file, video, 0o600); err != nil {
		t.Fatal(err)
	}
	probe, err := exec.Command("ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=codec_name,width,height,nb_read_frames",
		"-of", "csv=p=0", file).CombinedOutput()
	if got := strings.TrimSpace(string(probe)); err != nil || got != "h264,64,32,5" {
		t.Errorf("ffprobe: %s, error %v; want h264,64,32,5", got, err)
	}
	if objects := server.Objects(t); !slices.Contains(objects, "my videos/ü/bucket-job/video.mp4") {
		t.Errorf("the bucket holds %q, want the video under the prefix and the job's id", objects)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "output", "*")); len(found) > 0 {
		t.Errorf("the output folder holds %q, want nothing", found)
	}

	// A folder that is asked for wins.
	code, out = run(t, environ, "generate", "--prompt", "p", "--audio", "../../testinput/voice.wav", "--frames", "1", "--width", "16", "--height", "16",
		"--steps", "1", "--output-dir", filepath.Join(dir, "clips"))
	if code != 0 || !strings.Contains(out, `"video_url":"file:///`) {
		t.Errorf("generate --output-dir: exit code %d:\n%s", code, out)
	}
}

// TestCheck59_BucketsThatAreRefused: what is wrong with a bucket is said in the names of its settings, and without its secret.
func TestCheck59_BucketsThatAreRefused(t *testing.T) {
	server := storagetest.StartS3(t)
	for name, test := range map[string]struct {
		environ []string
		want    string
	}{
		"half set":     {[]string{"BUCKET_NAME=b-1", "BUCKET_SECRET_ACCESS_KEY=CANARY-SECRET"}, "BUCKET_ENDPOINT_URL: is missing"},
		"wrong secret": {append(server.Environ(), "BUCKET_SECRET_ACCESS_KEY=CANARY-SECRET"), "SignatureDoesNotMatch"},
		"no bucket":    {append(server.Environ(), "BUCKET_NAME=absent-bucket"), "BUCKET_NAME: the service has no bucket"},
		"volume":       {append(server.Environ(), "BUCKET_ENDPOINT_URL=https://s3api-eu-ro-1.runpod.io"), "BUCKET_ENDPOINT_URL: is the S3 interface of RunPod's network volumes"},
		"no number":    {append(server.Environ(), "BUCKET_PRESIGN_EXPIRY=soon"), "BUCKET_PRESIGN_EXPIRY: the value is no int"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			environ := append(test.environ, "RUNPOD_LOG_LEVEL=TRACE", "HUMO_OUTPUT="+filepath.Join(dir, "output"), "HUMO_TMP="+filepath.Join(dir, "tmp"))
			code, out := run(t, environ, "--test_input", writeJob(t, bucketJob))
			if code == 0 || !strings.Contains(out, test.want) {
				t.Errorf("exit code %d, want a failure that says %q:\n%s", code, test.want, out)
			}
			secretFree(t, out, server.SecretAccessKey, "CANARY")
			if found, _ := filepath.Glob(filepath.Join(dir, "output", "*")); len(found) > 0 {
				t.Errorf("the output folder holds %q, want nothing", found)
			}
		})
	}
}

func secretFree(t *testing.T, out string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(out, secret) {
			t.Errorf("the output holds %q:\n%s", secret, out)
		}
	}
}

// run runs the program in this process, with the engine of the scripts.
func run(t *testing.T, environ []string, args ...string) (code int, out string) {
	t.Helper()
	var text bytes.Buffer
	app := cli.App{Version: "1.2.3", Environ: environ, Stdout: &text, Stderr: &text, Rooms: cli.Rooms{OpenEngine: openGrey}}
	code = app.Run(args)
	return code, text.String()
}

// writeJob writes a job and its voice into a folder of their own.
func writeJob(t *testing.T, job string) string {
	t.Helper()
	dir := t.TempDir()
	voice, err := os.ReadFile("../../testinput/voice.wav")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "voice.wav"), voice, 0o600)
	}
	path := filepath.Join(dir, "job.json")
	if err == nil {
		err = os.WriteFile(path, []byte(job), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
