package image_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// releaseHost is a folder with scripts/onnxruntime-release.sh, sums, and a stand-in for curl that hands out an archive of the
// published form: a folder whose name is not the archive's, the library behind symbolic links, more than is wanted.
type releaseHost struct{ dir, sum string }

func newReleaseHost(t *testing.T) releaseHost {
	t.Helper()
	h := releaseHost{dir: t.TempDir()}
	script := `set -e
mkdir -p onnxruntime-linux-x64-gpu-9.9.9/lib && cd onnxruntime-linux-x64-gpu-9.9.9
echo licence >LICENSE
cd lib
echo library >libonnxruntime.so.9.9.9
ln -s libonnxruntime.so.9.9.9 libonnxruntime.so.1
ln -s libonnxruntime.so.1 libonnxruntime.so
for p in shared cuda tensorrt; do echo $p >libonnxruntime_providers_$p.so; done
cd ../.. && tar -czf archive.tgz onnxruntime-linux-x64-gpu-9.9.9 && rm -r onnxruntime-linux-x64-gpu-9.9.9`
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = h.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	archive, err := os.ReadFile(filepath.Join(h.dir, "archive.tgz"))
	if err == nil {
		h.sum = fmt.Sprintf("%x", sha256.Sum256(archive))
		err = os.WriteFile(filepath.Join(h.dir, "onnxruntime-release.sh"), []byte(read(t, "scripts/onnxruntime-release.sh")), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	standIn(t, filepath.Join(h.dir, "bin"), "curl", `echo "$*" >>`+h.dir+`/fetched
for a; do [ "$last" = -o ] && cp `+h.dir+`/archive.tgz "$a"; last=$a; done
exit 0
`)
	return h
}

// fetch runs the script for x64-gpu_cuda13 9.9.9 with one line of sums.
func (h releaseHost) fetch(t *testing.T, sums string) (out string, err error) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "onnxruntime-release.sha256"), []byte(sums), 0o644); err != nil {
		t.Fatal(err)
	}
	script, target := filepath.Join(h.dir, "onnxruntime-release.sh"), filepath.Join(h.dir, "opt/onnxruntime")
	cmd := exec.Command(script, "x64-gpu_cuda13", "9.9.9", target)
	cmd.Env = []string{"PATH=" + filepath.Join(h.dir, "bin") + ":" + os.Getenv("PATH")}
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// left lists what is under the target's parent.
func (h releaseHost) left(t *testing.T) (names []string) {
	t.Helper()
	root := filepath.Join(h.dir, "opt")
	out, err := exec.Command("sh", "-c", `cd "$0" && find . -mindepth 1 | sort`, root).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func TestReleaseIsVerified(t *testing.T) {
	const name = "  onnxruntime-linux-x64-gpu_cuda13-9.9.9.tgz\n"
	h := newReleaseHost(t)
	if err := os.Mkdir(filepath.Join(h.dir, "opt"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ sums, says string }{
		{h.sum + "  onnxruntime-linux-x64-9.9.9.tgz\n", "has no SHA-256"},
		{h.sum + "  onnxruntime-linux-x64-gpu_cuda13-9.9.8.tgz\n", "has no SHA-256"},
		{strings.Repeat("0", 64) + name, "is not the pinned one"},
	} {
		out, err := h.fetch(t, c.sums)
		if err == nil || !strings.Contains(out, c.says) {
			t.Errorf("sums %q: %v\n%s", c.sums, err, out)
		}
		if left := h.left(t); len(left) > 0 {
			t.Errorf("sums %q: %v is left", c.sums, left)
		}
	}
	asked, err := os.ReadFile(filepath.Join(h.dir, "fetched"))
	if err != nil || strings.Count(string(asked), "\n") != 1 {
		t.Errorf("an archive that is not pinned was fetched: %v\n%s", err, asked)
	}
	const address = "https://github.com/microsoft/onnxruntime/releases/download/v9.9.9/onnxruntime-linux-x64-gpu_cuda13-9.9.9.tgz"
	if !strings.HasSuffix(string(asked), " "+address+"\n") {
		t.Errorf("asked for %s, want %s", asked, address)
	}

	for range 2 { // again over the first
		if out, err := h.fetch(t, h.sum+name); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	files := []string{"./onnxruntime", "./onnxruntime/LICENSE", "./onnxruntime/libonnxruntime.so.1",
		"./onnxruntime/libonnxruntime_providers_cuda.so", "./onnxruntime/libonnxruntime_providers_shared.so"}
	if left := h.left(t); !slices.Equal(left, files) {
		t.Errorf("the folder has %v, want %v", left, files)
	}
	library, err := os.ReadFile(filepath.Join(h.dir, "opt/onnxruntime/libonnxruntime.so.1"))
	if err != nil || string(library) != "library\n" {
		t.Errorf("the library is %q: %v", library, err)
	}
}
