package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler"
)

// work is the root command: RunPod's worker. The lines and the order of the modes are RunPod's.
func (a *App) work(ctx context.Context, flags rootFlags, ignored []string) error {
	fmt.Fprintf(a.Stdout, "--- Starting Serverless Worker |  Version %s ---\n", a.Version) //nolint:errcheck // the log after it would show
	show := newDisplay(a.Stdout, a.Stderr)
	settings, log, err := a.start(show, flags.logLevel)
	if err != nil {
		reportFailure(log, err)
		return errReported
	}
	if flags.logLevel != "" {
		log.Info().Msg("Log level set to " + strings.ToUpper(flags.logLevel))
	}
	if len(ignored) > 0 {
		log.Warn().Strs("arguments", ignored).Msg("Unknown arguments are ignored.")
	}
	switch {
	case flags.serveAPI:
		settings.API.Host, settings.API.Port, settings.API.Concurrency = flags.apiHost, flags.apiPort, flags.apiConcurrency
		return a.serve(ctx, settings, flags.logLevel)
	case flags.testInput == "" && settings.Queue.GetJob != "":
		return a.queue(ctx, settings, flags.logLevel)
	}
	return a.localTest(ctx, settings, log, show, flags.testInput)
}

// localTest is RunPod's one-shot local run.
func (a *App) localTest(ctx context.Context, settings Settings, log zerolog.Logger, show *display, testInput string) error {
	test, err := readTest(log, testInput)
	if err != nil {
		reportFailure(log, err)
		return errReported
	}
	if settings.Jobs.InputRoot == "" {
		settings.Jobs.InputRoot = test.folder
	}
	if isNull(test.Input) {
		log.Error().Msg("Job has no input parameter. Unable to run.")
		return errReported
	}
	jobLog := log.With().Str("job", test.ID).Logger()
	jobLog.Info().Msg("Started.")

	jobs, shut, err := a.open(settings, log)
	if err != nil {
		reportFailure(log, err)
		return errReported
	}
	defer shut()
	progress := show.progress(jobLog)
	result, err := jobs.Handle(ctx, handler.Job{ID: test.ID, Input: test.Input, S3: test.S3, Timeout: test.timeout()}, progress)
	progress.Close()
	if stop, ok := errors.AsType[interrupted](context.Cause(ctx)); ok && err != nil {
		log.Info().Msg(stop.line())
		return errReported
	}
	if err != nil {
		failure := handler.FailureOf(err)
		jobLog.Error().Msgf("Job %s failed with error: %s", test.ID, failure.Error)
		jobLog.Error().Msgf("Job result: %s", compact(failure))
		return errReported
	}
	jobLog.Info().Msgf("Job %s completed successfully.", test.ID)
	jobLog.Info().Msgf("Job result: %s", compact(map[string]any{"output": result}))
	log.Info().Msg("Local testing complete, exiting.")
	return nil
}

// test is the job of a local test run.
type test struct {
	ID     string          `json:"id"`
	Input  json.RawMessage `json:"input"`
	S3     json.RawMessage `json:"s3Config"`
	Policy struct {
		ExecutionTimeout int64 `json:"executionTimeout"` // milliseconds
	} `json:"policy"`
	folder string // where it was found: its volume: paths start there
}

func (t *test) timeout() time.Duration {
	return time.Duration(t.Policy.ExecutionTimeout) * time.Millisecond
}

// defaultTests are looked for in this order.
var defaultTests = []string{"test_input.json", "testinput/test_input.json"}

// readTest finds the job: given is its JSON, a file or @file; without one, the first default file is taken.
func readTest(log zerolog.Logger, given string) (*test, error) {
	given = strings.TrimSpace(given)
	if strings.HasPrefix(given, "{") {
		log.Info().Msg("test_input set, using test_input as job input.")
		return parseTest([]byte(given), "--test_input", ".")
	}
	if given != "" {
		path := strings.TrimPrefix(given, "@")
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--test_input is neither a JSON object nor a file that can be read: %w", err)
		}
		log.Info().Msg("test_input set, using test_input as job input.")
		return parseTest(data, path, filepath.Dir(path))
	}
	for _, path := range defaultTests {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		log.Info().Msgf("Using %s as job input.", path)
		return parseTest(data, path, filepath.Dir(path))
	}
	log.Warn().Msg("test_input.json not found, exiting.")
	return nil, errNoTest
}

var errNoTest = errors.New("there is no job to run: write a test_input.json, or give one with --test_input")

func parseTest(data []byte, name, folder string) (*test, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // editors on Windows
	t := &test{folder: folder}
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("%s is not the JSON of a job, {\"input\": {…}}: %w", name, err)
	}
	if t.ID == "" {
		t.ID = "local_test"
	}
	return t, nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}

// compact is v in one line of JSON, with the & of URLs as they are.
func compact(v any) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Sprintf("%q", err.Error())
	}
	return strings.TrimSpace(out.String())
}
