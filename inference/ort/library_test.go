package ort

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/humo-worker/humo-worker/inference/fault"
)

func TestConfig(t *testing.T) {
	parse := func(vars map[string]string) Config {
		cfg, err := env.ParseAsWithOptions[Config](env.Options{Environment: vars})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	cuda := CUDAConfig{Arena: "exact", ConvSearch: "heuristic", Fallback: "warn"}
	if diff := cmp.Diff(Config{LogLevel: "fatal", CUDA: cuda}, parse(nil)); diff != "" {
		t.Error(diff)
	}
	want := Config{Library: "/l.so", Threads: 3, ArenaOff: true, NoSpin: true, LogLevel: "info", CUDA: cuda}
	got := parse(map[string]string{"ONNXRUNTIME_LIB": "/l.so", "HUMO_THREADS": "3", "HUMO_ARENA_OFF": "true", "HUMO_NO_SPIN": "1", "HUMO_ORT_LOG": "info"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, cfg := range []Config{{}, want, parse(nil)} {
		if err := cfg.Validate(); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	for want, cfg := range map[string]Config{
		"HUMO_THREADS: -1 is outside 0…1024":            {Threads: -1},
		"HUMO_THREADS: 1025 is outside":                 {Threads: 1025},
		`HUMO_ORT_LOG: "loud" is not one of fatal, err`: {LogLevel: "loud"},
		"ONNXRUNTIME_LIB: the path holds a zero byte":   {Library: "/l\x00.so"},
	} {
		if _, err := Open(cfg, zerolog.Nop()); fault.CodeOf(err) != "invalid_setting" || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestDefaultLibrary(t *testing.T) {
	const rest = "/humo-worker/onnxruntime-" + LibraryVersion + "/libonnxruntime.so.1"
	for _, c := range [][3]string{
		{"/cache", "/home/a", "/cache" + rest},
		{"", "/home/a", "/home/a/.cache" + rest},
		{"relative", "/home/a", "/home/a/.cache" + rest},
		{"", "", ""},
	} {
		t.Setenv("XDG_CACHE_HOME", c[0])
		t.Setenv("HOME", c[1])
		if got := DefaultLibrary(); got != c[2] {
			t.Errorf("XDG_CACHE_HOME=%q HOME=%q: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestDiscovery(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/cache")
	cfg := Config{Search: []string{"/beside/lib.so", ""}}
	want := []string{"/beside/lib.so", DefaultLibrary(), "libonnxruntime.so.1", "libonnxruntime.so"}
	if diff := cmp.Diff(want, cfg.candidates()); diff != "" {
		t.Error(diff)
	}
	cfg.Library = "/named.so"
	if diff := cmp.Diff([]string{"/named.so"}, cfg.candidates()); diff != "" {
		t.Error(diff)
	}
}

func TestMissingLibrary(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	library, err := os.ReadFile(workingLibrary(t))
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short.so")
	if err := os.WriteFile(short, library[:len(library)/3], 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/nowhere/lib.so":  "(no such file)",
		short:              "(cut short; fetch or copy it again)",
		filepath.Dir(text): "(a folder; name the file in it)",
		text:               "file too short",
		"libc.so.6":        "OrtGetApiBase", // a library, but another one
	} {
		_, err := Open(Config{Library: name}, zerolog.Nop())
		if fault.CodeOf(err) != "onnxruntime_missing" {
			t.Fatalf("%s: %v", name, err)
		}
		for _, part := range []string{"ONNXRUNTIME_LIB: ", "tried " + name, want, "make setup", LibraryVersion} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v does not contain %q", name, err, part)
			}
		}
	}
	// What was tried before does not stand in the way of what works.
	rt := openRuntime(t, Config{Library: workingLibrary(t)})
	closeAll(t, rt)
	openRuntime(t, Config{Search: []string{"/nowhere/lib.so", text, workingLibrary(t)}, Library: ""})
}

// workingLibrary is the path that the other tests open, or fails with the cure.
func workingLibrary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("ONNXRUNTIME_LIB")
	if path == "" {
		path = DefaultLibrary()
	}
	return path
}
