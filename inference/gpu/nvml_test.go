package gpu

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// source is a library with NVML's functions and one card. Built with BROKEN it does not start, with OLD it lacks one.
const source = `
#include <string.h>
static int card;
int nvmlInit_v2(void) {
#ifdef BROKEN
	return 9;
#endif
	return 0;
}
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.95.05", size); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device) { *device = &card; return i == 0 ? 0 : 2; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) { *device = &card; return strcmp(uuid, "MIG-1") ? 6 : 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned size) { strncpy(text, "NVIDIA L40S", size); return device == &card ? 0 : 2; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned size) { strncpy(text, "GPU-1", size); return device == &card ? 0 : 2; }
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *m) { m[0] = 48000000000ull; m[1] = 47000000000ull; m[2] = m[0] - m[1]; return 0; }
#ifndef OLD
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { *major = 8; *minor = 9; return 0; }
#endif
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "other"; }
`

// build compiles the library; whoever builds this package has a C compiler.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "nvml.c")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	out := filepath.Join(dir, library)
	if text, err := exec.Command(compiler, append(flags, "-shared", "-fPIC", "-o", out, file)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return out
}

// What a real library says comes through, by its own calling convention.
func TestLibrary(t *testing.T) {
	d, err := openNVML(build(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	f := find(d, "", false)
	want := Card{Name: "NVIDIA L40S", UUID: "GPU-1", Total: 48e9, Free: 47e9, Major: 8, Minor: 9, Driver: "580.95.05"}
	if f.Reason != nil || len(f.Cards) != 1 || f.Cards[0] != want {
		t.Errorf("found %+v", f)
	}
	if f := find(d, "MIG-1", true); len(f.Cards) != 1 || f.Reason != nil {
		t.Errorf("by UUID: %+v", f)
	}
	if f := find(d, "MIG-2", true); len(f.Cards) != 0 || f.Reason == nil {
		t.Errorf("by an unknown UUID: %+v", f)
	}
	if _, err := d.device(1); err == nil || err.Error() != "other" {
		t.Errorf("a card that is not there: %v", err)
	}
}

// Without a driver, or with one that does not work, there is no library to ask.
func TestNoLibrary(t *testing.T) {
	for path, want := range map[string]string{
		"libnvidia-ml-that-is-not-there.so.1": "libnvidia-ml-that-is-not-there.so.1",
		build(t, "-DBROKEN"):                  "Driver Not Loaded",
		build(t, "-DOLD"):                     "nvmlDeviceGetCudaComputeCapability",
	} {
		if _, err := openNVML(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
