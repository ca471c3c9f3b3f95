package image_test

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/inference/ort"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find is what the expression's group matches in a file.
func find(t *testing.T, name, expression string) string {
	t.Helper()
	match := regexp.MustCompile(expression).FindStringSubmatch(read(t, name))
	if match == nil {
		t.Fatalf("%s has nothing like %s", name, expression)
	}
	return match[1]
}

// version reads the first two numbers of a version.
func version(t *testing.T, text string) (v [2]int) {
	t.Helper()
	for i, part := range strings.SplitN(text+".0", ".", 3)[:2] {
		n, err := strconv.Atoi(part)
		if err != nil {
			t.Fatalf("%q is no version", text)
		}
		v[i] = n
	}
	return v
}

func older(a, b [2]int) bool { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) < 0 }

// runsWith is the release of CUDA that the releases of ONNX Runtime for cards are built for. The published library says it:
// libonnxruntime_providers_cuda.so 1.30.0 links to libcudart.so.13, libcublas.so.13, libcublasLt.so.13 and libcurand.so.10,
// and opens libcudnn.so.9.
var runsWith = map[string]string{"1.30.0": "13.0"}

// The base image, ONNX Runtime and CUDA stand in the Dockerfile, once. What must fit them elsewhere does.
func TestVersionsAgree(t *testing.T) {
	d := readDockerfile(t)
	release, cuda := d.args["ORT_VERSION"], d.args["CUDA_VERSION"]
	if release != ort.LibraryVersion {
		t.Errorf("the image has ONNX Runtime %s, inference/ort is made for %s", release, ort.LibraryVersion)
	}
	if setup := find(t, "scripts/setup.sh", `(?m)^readonly version=(.*)$`); setup != release {
		t.Errorf("the image has ONNX Runtime %s, make setup fetches %s", release, setup)
	}
	needed, known := runsWith[release]
	if !known {
		t.Fatalf("which CUDA is ONNX Runtime %s built for? Look at what its CUDA provider links to, and say it in runsWith", release)
	}
	if have, need := version(t, cuda), version(t, needed); have[0] != need[0] || older(have, need) {
		t.Errorf("the base has CUDA %s, ONNX Runtime %s needs %s or a newer one of the same major version", cuda, release, needed)
	}
	if base := d.stage("gpu").base; !strings.HasPrefix(base, "nvidia/cuda:"+cuda+"-cudnn-runtime-ubuntu24.04@") {
		t.Errorf("the base of the gpu target is %s, want CUDA's and cuDNN's libraries in the version %s", base, cuda)
	}

	// The pinned archives are these two and no other.
	major, _, _ := strings.Cut(cuda, ".")
	want := []string{"onnxruntime-linux-x64-" + release + ".tgz", "onnxruntime-linux-x64-gpu_cuda" + major + "-" + release + ".tgz"}
	var have []string
	for line := range strings.Lines(read(t, "scripts/onnxruntime-release.sha256")) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(sum) {
			t.Errorf("onnxruntime-release.sha256: %q is no line of sha256sum", line)
		}
		have = append(have, name)
	}
	if !slices.Equal(have, want) {
		t.Errorf("onnxruntime-release.sha256 pins %v, the Dockerfile fetches %v", have, want)
	}

	// A program that links to glibc runs with the same or a newer one: bookworm's is 2.36, Ubuntu 24.04's 2.39.
	compiler := d.args["GO_IMAGE"]
	least := find(t, "go.mod", `(?m)^go (.*)$`)
	if older(version(t, strings.TrimPrefix(compiler, "golang:")), version(t, least)) {
		t.Errorf("%s is older than go.mod's %s", compiler, least)
	}
	if !strings.Contains(compiler, "-bookworm@") || !strings.HasPrefix(d.args["DEBIAN_IMAGE"], "debian:bookworm-slim@") {
		t.Errorf("the program is built on %s and runs on %s", compiler, d.args["DEBIAN_IMAGE"])
	}

	// Everybody who names a driver names one that runs this CUDA: it and all newer of its major version.
	for _, name := range []string{".runpod/hub.json", ".runpod/tests.json"} {
		var file struct {
			Config struct{ AllowedCudaVersions []string }
		}
		if err := json.Unmarshal([]byte(read(t, name)), &file); err != nil {
			t.Fatal(err)
		}
		base := version(t, cuda)
		for i, text := range file.Config.AllowedCudaVersions {
			if v := version(t, text); v != [2]int{base[0], base[1] + i} {
				t.Errorf("%s allows CUDA %s as the %d. version, want %d.%d", name, text, i+1, base[0], base[1]+i)
			}
		}
		if len(file.Config.AllowedCudaVersions) == 0 {
			t.Errorf("%s allows every CUDA version", name)
		}
	}
	if named := find(t, "docs/deploy.md", `"minCudaVersion": "([0-9.]+)"`); version(t, named) != version(t, cuda) {
		t.Errorf("docs/deploy.md asks for CUDA %s, the base has %s", named, cuda)
	}
	if got := pairs(d.stage("gpu").all("ENV")[0])["RUNPOD_MIN_CUDA_VERSION"]; got != "$CUDA_VERSION" {
		t.Errorf("RUNPOD_MIN_CUDA_VERSION is %s", got)
	}
}

// The context holds what the build reads, and nothing else of a folder in which weights, results and secrets may lie.
func TestContext(t *testing.T) {
	allowed := map[string]bool{}
	lines := strings.Split(strings.TrimSpace(read(t, ".dockerignore")), "\n")
	for _, line := range lines {
		if name, ok := strings.CutPrefix(line, "!"); ok {
			allowed[name] = true
		}
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "#") })
	if lines[0] != "*" || lines[len(lines)-1] != "**/testdata" {
		t.Errorf(".dockerignore does not begin with all and end without test data: %v", lines)
	}
	for _, s := range readDockerfile(t).stages {
		for _, n := range s.all("COPY") {
			list := words(n)
			for _, name := range list[:len(list)-1] {
				if from(n) == "" && name != "." && !allowed[name] {
					t.Errorf("line %d copies %s, which is not in the context", n.StartLine, name)
				}
			}
		}
	}
	const folders = "{{if not .Standard}}{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}{{end}}"
	list := exec.Command("go", "list", "-deps", "-f", folders, ".")
	list.Dir = top
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	for dir := range strings.Lines(string(out)) {
		rel, err := filepath.Rel(root, strings.TrimSpace(dir))
		if err != nil {
			t.Fatal(err)
		}
		if room, _, _ := strings.Cut(rel, "/"); room != "." && !allowed[room] {
			t.Errorf("the program needs %s, which is not in the context", rel)
		}
	}
	for name := range allowed {
		if _, err := os.Stat(filepath.Join(top, name)); err != nil {
			t.Errorf(".dockerignore: %v", err)
		}
	}
}
