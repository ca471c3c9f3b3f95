package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	binding "github.com/yalue/onnxruntime_go"

	"github.com/humo-worker/humo-worker/inference/fault"
)

// LibraryVersion is the release of ONNX Runtime that is tested and that `make setup` fetches. Others from 1.24 on
// load too (the binding asks for API 24) and are only remarked on in the log.
const LibraryVersion = "1.30.0"

// systemNames are left to the loader of the operating system (LD_LIBRARY_PATH, ld.so.cache).
var systemNames = []string{"libonnxruntime.so.1", "libonnxruntime.so"}

// DefaultLibrary is where `make setup` puts the library:
// ${XDG_CACHE_HOME:-~/.cache}/humo-worker/onnxruntime-<version>/libonnxruntime.so.1. It is empty when the process
// has neither variable.
func DefaultLibrary() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(cache) { // the XDG specification: ignore a relative one
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "humo-worker", "onnxruntime-"+LibraryVersion, "libonnxruntime.so.1")
}

// candidates lists the libraries to try, in order. One that the user named stands alone: falling back to another
// would hide the mistake.
func (c Config) candidates() []string {
	if c.Library != "" {
		return []string{c.Library}
	}
	var list []string
	for _, path := range append(append([]string{}, c.Search...), DefaultLibrary()) {
		if path != "" {
			list = append(list, path)
		}
	}
	return append(list, systemNames...)
}

// telemetrySwitch, if set before the library is loaded, keeps it from writing a database of events into the user's cache
// folder and log files into the temporary folder, and from sending them to its maker: 1.30 does so by default.
const telemetrySwitch = "ORT_DISABLE_TELEMETRY"

// load loads the first candidate that works, creates the process's environment in it and returns its name.
func (c Config) load() (string, error) {
	if err := os.Setenv(telemetrySwitch, "1"); err != nil {
		return "", err
	}
	var tried []string
	for _, name := range c.candidates() {
		err := loadFile(name)
		if err == nil {
			return name, nil
		}
		tried = append(tried, fmt.Sprintf("%s (%v)", name, err))
	}
	field := ""
	if c.Library != "" {
		field = "ONNXRUNTIME_LIB"
	}
	return "", fault.New("onnxruntime_missing", field,
		"no usable ONNX Runtime library; tried %s; run `make setup`, or set ONNXRUNTIME_LIB to the path of a libonnxruntime.so.1 of version 1.24 or newer (tested: %s)",
		strings.Join(tried, "; "), LibraryVersion)
}

func loadFile(name string) error {
	if strings.ContainsRune(name, filepath.Separator) {
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return errors.New("no such file")
		case err != nil:
			return err
		case info.IsDir():
			return errors.New("a folder; name the file in it")
		}
		if err := whole(name); err != nil {
			return err
		}
	}
	binding.SetSharedLibraryPath(name)
	err := binding.InitializeEnvironment()
	if err == nil {
		return nil
	}
	switch {
	case strings.Contains(err.Error(), "setting ORT API base"):
		return errors.New("its C API is older than version 24")
	case strings.Contains(err.Error(), "OrtGetApiBase"):
		return errors.New("a library, but not ONNX Runtime: it has no OrtGetApiBase")
	}
	if _, reason, ok := strings.Cut(err.Error(), `"`+name+`": `); ok { // the loader's own words
		return errors.New(strings.TrimPrefix(reason, name+": "))
	}
	return err
}
