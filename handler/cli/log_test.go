package cli

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

func TestLoggerWritesRunPodsForm(t *testing.T) {
	var out bytes.Buffer
	log := newLogger(&out, zerolog.DebugLevel)
	log.Trace().Msg("not seen")
	log.Debug().Msg("d")
	log.Info().Str("job", "local_test").Str("path", "/a/b").Int("n", 3).Msg("Started.")
	log.Warn().Strs("arguments", []string{"--x", "y"}).Str("empty", "").Msg("with a \"quote\" & more")
	log.Error().Err(errors.New("a b=c")).Float64("x", 1e21).Msg("")
	log.WithLevel(zerolog.FatalLevel).Msg("f")
	want := `DEBUG  | d
INFO   | local_test | Started. path=/a/b n=3
WARN   | with a "quote" & more arguments=["--x","y"] empty=""
ERROR  |  error="a b=c" x=1e+21
ERROR  | f
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestLogLevel(t *testing.T) {
	for name, want := range map[string]zerolog.Level{
		"": zerolog.InfoLevel, "debug": zerolog.DebugLevel, "WARNING": zerolog.WarnLevel, "Critical": zerolog.ErrorLevel,
		"NOTSET": zerolog.Disabled, "TRACE": zerolog.TraceLevel,
	} {
		if got, known := (LogConfig{Level: name}).level(); got != want || !known {
			t.Errorf("level %q = %v, known %v; want %v", name, got, known, want)
		}
	}
	if got, known := (LogConfig{Level: "loud", DebugLevel: "ERROR"}).level(); got != zerolog.InfoLevel || known {
		t.Errorf("an unknown level gives %v, known %v; want INFO and a warning", got, known)
	}
	if got, _ := (LogConfig{DebugLevel: "ERROR"}).level(); got != zerolog.ErrorLevel {
		t.Errorf("RUNPOD_DEBUG_LEVEL=ERROR gives %v", got)
	}
}
