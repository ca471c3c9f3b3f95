package ort

import (
	"runtime"
	"strings"

	binding "github.com/yalue/onnxruntime_go"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// MaxThreads bounds HUMO_THREADS: more is a typing error, and every session starts its own threads.
const MaxThreads = 1024

// Config holds the settings of ONNX Runtime that belong to the process. Its zero value is the default.
type Config struct {
	// Library is the shared library to load, and then the only one tried. Empty: Search, then DefaultLibrary, then
	// the names that the system's loader knows.
	Library string `env:"ONNXRUNTIME_LIB"`

	// Search lists further files to try before DefaultLibrary, e.g. one beside the executable. No variable sets it.
	Search []string

	// Threads is how many threads compute one node; 0 means as many as the process may use, which respects the CPU
	// limit of a container (ONNX Runtime's own default does not).
	Threads int `env:"HUMO_THREADS" envDefault:"0"`

	// ArenaOff gives memory back after every use instead of keeping it in the arena that all sessions share: less
	// memory between runs, more page faults in them.
	ArenaOff bool `env:"HUMO_ARENA_OFF" envDefault:"false"`

	// NoSpin lets idle threads sleep at once instead of spinning for a moment: slower by a few per cent on an idle
	// machine, kinder to the neighbours on a shared one.
	NoSpin bool `env:"HUMO_NO_SPIN" envDefault:"false"`

	// LogLevel is the least severe message of ONNX Runtime that reaches standard error: fatal, error, warning, info
	// or verbose. The library writes these lines itself, unformatted: the binding has no hook for them. Hence the
	// default, fatal: errors come back as Go errors anyway and are logged by who receives them.
	LogLevel string `env:"HUMO_ORT_LOG" envDefault:"fatal"`

	// CUDA holds the settings of the cards.
	CUDA CUDAConfig
}

var logLevels = map[string]binding.LoggingLevel{
	"":        binding.LoggingLevelFatal,
	"fatal":   binding.LoggingLevelFatal,
	"error":   binding.LoggingLevelError,
	"warning": binding.LoggingLevelWarning,
	"info":    binding.LoggingLevelInfo,
	"verbose": binding.LoggingLevelVerbose,
}

// Validate reports the first setting that cannot work; the fault's field is the variable's name.
func (c Config) Validate() error {
	if strings.ContainsRune(c.Library, 0) {
		return fault.New("invalid_setting", "ONNXRUNTIME_LIB", "the path holds a zero byte; give the path of libonnxruntime.so.1")
	}
	if c.Threads < 0 || c.Threads > MaxThreads {
		return fault.New("invalid_setting", "HUMO_THREADS", "%d is outside 0…%d; 0 uses every core", c.Threads, MaxThreads)
	}
	if _, ok := logLevels[c.LogLevel]; !ok {
		return fault.New("invalid_setting", "HUMO_ORT_LOG", "%q is not one of fatal, error, warning, info, verbose", c.LogLevel)
	}
	return c.CUDA.Validate()
}

// threads resolves the 0 of "every core". GOMAXPROCS follows the container's CPU quota and the affinity mask.
func (c Config) threads() int {
	if c.Threads == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return c.Threads
}
