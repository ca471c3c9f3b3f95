package cli

import (
	"errors"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v11"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/handler"
	"github.com/humo-worker/humo-worker/handler/localapi"
	"github.com/humo-worker/humo-worker/inference"
	"github.com/humo-worker/humo-worker/inference/fault"
	"github.com/humo-worker/humo-worker/inference/media"
	"github.com/humo-worker/humo-worker/inference/weights/pull"
	"github.com/humo-worker/humo-worker/storage"
)

// Settings are those of all rooms. Flags win over the environment, which wins over the configuration
// file (HUMO_CONFIG), which wins over the defaults.
type Settings struct {
	Jobs      handler.Config
	Inference inference.Config
	Media     media.Config
	Output    storage.LocalConfig
	Bucket    storage.S3Config
	Log       LogConfig
	Queue     QueueConfig
	API       localapi.Config
	Hub       pull.Config
}

// QueueConfig is where RunPod's queue is.
type QueueConfig struct {
	// GetJob is the address that jobs are taken from. Its absence is RunPod's definition of a local run.
	GetJob string `env:"RUNPOD_WEBHOOK_GET_JOB"`
}

// LogConfig says what is logged.
type LogConfig struct {
	// Level is the least severe level that is logged: ERROR, WARN, INFO, DEBUG or TRACE; NOTSET logs nothing. Empty:
	// DebugLevel, then INFO.
	Level string `env:"RUNPOD_LOG_LEVEL"`

	// DebugLevel is RunPod's older name for Level. Level wins.
	DebugLevel string `env:"RUNPOD_DEBUG_LEVEL"`
}

// level reads a level's name as RunPod's worker does, and a few names that other loggers use. An unknown one is INFO.
func (c LogConfig) level() (level zerolog.Level, known bool) {
	name := c.Level
	if name == "" {
		name = c.DebugLevel
	}
	switch strings.ToUpper(name) {
	case "", "INFO":
		return zerolog.InfoLevel, true
	case "NOTSET":
		return zerolog.Disabled, true
	case "TRACE":
		return zerolog.TraceLevel, true
	case "DEBUG":
		return zerolog.DebugLevel, true
	case "WARN", "WARNING":
		return zerolog.WarnLevel, true
	case "ERROR", "FATAL", "CRITICAL":
		return zerolog.ErrorLevel, true
	}
	return zerolog.InfoLevel, false
}

// settings reads the environment. The error is one fault per variable that cannot be read.
func (a *App) settings() (Settings, error) {
	s := Settings{Jobs: handler.Config{Version: a.Version}}
	err := env.ParseWithOptions(&s, env.Options{Environment: env.ToMap(a.Environ)})
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return s, err
	}
	faults := make([]error, len(all.Errors))
	for i, e := range all.Errors {
		faults[i] = e
		if bad, ok := errors.AsType[env.ParseError](e); ok { // it names Go's field, which no user knows
			faults[i] = fault.New("invalid_setting", variableOf(reflect.TypeFor[Settings](), bad.Name), "the value is no %s; correct it, or unset the variable", bad.Type)
		}
	}
	return s, errors.Join(faults...)
}

// variableOf finds the environment variable of a field by the field's name.
func variableOf(t reflect.Type, field string) string {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		if f.Name == field && name != "" {
			return name
		}
		if f.Type.Kind() == reflect.Struct {
			if name := variableOf(f.Type, field); name != "" {
				return name
			}
		}
	}
	return ""
}

// validate checks what the rooms can tell without work, all at once.
func (s Settings) validate() error {
	problems := []error{s.Jobs.Validate(), s.Inference.Validate(), s.Media.Validate(), s.Output.Validate()}
	if s.Bucket.Enabled() {
		problems = append(problems, s.Bucket.Validate())
	}
	return errors.Join(problems...)
}
