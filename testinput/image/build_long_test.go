//go:build long

package image_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/humo-worker/humo-worker/inference/ort"
)

// TestBuild runs every RUN of the Dockerfile, in its order and its place, and looks at what comes out.
func TestBuild(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("debootstrap, overlay mounts and chroot need root")
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		t.Skip("debootstrap is not installed: apt-get install debootstrap")
	}
	dir := t.TempDir() // nothing is ever mounted in it, seen from here
	b := &builder{
		t: t, d: readDockerfile(t), dir: dir, debian: filepath.Join(dir, "debian"),
		layers: map[string]string{}, built: map[string][]string{},
	}
	b.run("", os.Environ(), "debootstrap", "--variant=minbase", "bookworm", b.debian)

	// As Debian's and Ubuntu's images do: packages are not kept once they are installed.
	const clean = `DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";`
	if err := os.WriteFile(filepath.Join(b.debian, "etc/apt/apt.conf.d/docker-clean"), []byte(clean), 0o644); err != nil {
		t.Fatal(err)
	}
	b.run("", nil, "sh", "-c", `rm -f "$0"/var/cache/apt/archives/*.deb`, b.debian)

	for _, target := range []string{"cpu", "gpu"} {
		layers := b.build(target)
		b.inspect(target, layers)
	}
}

var total = regexp.MustCompile(`^([0-9]+)`)

// inspect looks at a finished target: its layers' sizes, its programs, its check as another user on a read-only root, and
// that nothing is left in its folders for temporary files.
func (b *builder) inspect(target string, layers []string) {
	b.t.Helper()
	base := 1 // debootstrap's
	var sum int64
	for _, layer := range layers[base:] {
		n, err := strconv.ParseInt(total.FindString(b.run("", nil, "du", "-sb", layer)), 10, 64)
		if err != nil {
			b.t.Fatal(err)
		}
		sum += n
		b.t.Logf("%s: %6.1f MB %s", target, float64(n)/1e6, firstFiles(layer))
	}
	b.t.Logf("%s: %.0f MB over the base", target, float64(sum)/1e6)

	const library = "/opt/onnxruntime/libonnxruntime.so.1"
	environ := []string{"ONNXRUNTIME_LIB=" + library, "HUMO_OUTPUT=/tmp/output", "HOME=/", "TARGET=" + target}
	const check = `set -e
command -v sh which curl apt-get ffmpeg ffprobe >/dev/null
! command -v python3
test "$(id -u)" = 0
test "$(stat -c %a /tmp)" = 1777
test -z "$(ls -A /tmp /root/.cache 2>/dev/null | grep -v : )"
test -s /opt/onnxruntime/LICENSE
test ! -e /opt/onnxruntime/libonnxruntime_providers_tensorrt.so
test ! -e /scripts
test -s /usr/share/humo-worker/licences/github.com/rs/zerolog@*/LICENSE
grep -q "archive onnxruntime-linux-x64$([ "$TARGET" = cpu ] || echo -gpu_cuda)" /usr/share/humo-worker/sbom.cdx.json
[ "$TARGET" = cpu ] || for p in cuda shared; do test -e /opt/onnxruntime/libonnxruntime_providers_$p.so; done
humo-worker version`
	if out, _, err := b.inside(layers, place{workdir: "/", environ: environ}, "", "sh", "-c", check); err != nil {
		b.t.Errorf("%s: %v\n%s", target, err, out)
	}
	// docker stop, of the very program, as process 1.
	const stop = `set -e
export HUMO_WEIGHTS=/usr/share/humo-worker/demo RUNPOD_SKIP_AUTO_SYSTEM_CHECKS=true
export RUNPOD_WEBHOOK_GET_JOB=http://127.0.0.1:9/job-take/x RUNPOD_WEBHOOK_POST_OUTPUT=http://127.0.0.1:9/job-done/x
unshare --pid --fork --kill-child "$CMD" >/tmp/log 2>&1 &
wait_for() { n=0; until eval "$1"; do n=$((n + 1)); [ $n -lt $2 ] || { cat /tmp/log; exit 1; }; sleep 0.1; done; }
wait_for "grep -q 'The worker is ready' /tmp/log" 300
worker=$(cat /proc/$!/task/$!/children)
kill -TERM $worker
wait_for "! kill -0 $worker 2>/dev/null" 20
wait $!`
	environ = append(environ, "CMD="+words(b.d.stage(target).all("CMD")[0])[0])
	if out, _, err := b.inside(layers, place{workdir: "/", environ: environ}, "", "sh", "-c", stop); err != nil {
		b.t.Errorf("%s does not stop: %v\n%s", target, err, out)
	}
	readOnly := "mount -t tmpfs -o mode=1777 tmpfs root/tmp && mount -o remount,ro root"
	out, _, err := b.inside(layers, place{workdir: "/", environ: environ}, readOnly,
		"setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "--no-new-privs", "/usr/share/humo-worker/image-check.sh")
	if err != nil || !strings.Contains(out, "all is well") {
		b.t.Errorf("%s as another user on a read-only root: %v\n%s", target, err, out)
	}
}

func firstFiles(layer string) string {
	out, err := exec.Command("sh", "-c", `cd "$0" && find . -type f | head -n 2 | tr '\n' ' '`, layer).Output()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// runStep runs a RUN.
func (b *builder) runStep(stage string, n *parser.Node, layers []string, p place) string {
	b.t.Helper()
	before := ""
	switch {
	case strings.Contains(n.Original, "onnxruntime-release.sh"):
		before = b.standInRelease(p.get("ORT_VERSION"), stage)
	case stage == "gpu" && strings.HasSuffix(n.Original, "image-check.sh"):
		// The base here lacks what NVIDIA's has. The check must notice, and be content when it is there.
		out, _, err := b.inside(layers, p, "", "sh", "-c", words(n)[0])
		if err == nil || !strings.Contains(out, "libcudnn.so.9 is missing") {
			b.t.Errorf("image-check does not miss cuDNN: %v\n%s", err, out)
		}
		before = "gcc -shared -Wl,-soname,libcudnn.so.9 -o root/usr/lib/libcudnn.so.9 -x c /dev/null && chroot root ldconfig"
	case stage == "build":
		before = "mkdir -p root/usr/local/go root/go/pkg/mod root/root/.cache"
		for variable, place := range map[string]string{"GOROOT": "usr/local/go", "GOMODCACHE": "go/pkg/mod", "GOCACHE": "root/.cache"} {
			before += "\nmount --bind " + goEnv(b.t, variable) + " root/" + place
		}
	}
	began := time.Now()
	out, layer, err := b.inside(layers, p, before, "sh", "-c", words(n)[0])
	b.t.Logf("%s, line %d, %.0f s: RUN %s", stage, n.StartLine, time.Since(began).Seconds(), words(n)[0])
	if err != nil {
		b.t.Fatalf("line %d fails: %v\n%s", n.StartLine, err, out)
	}
	return layer
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// goEnviron makes Go find this machine's modules and cache where runStep mounts them.
func (b *builder) goEnviron() []string {
	list := []string{"GOROOT=/usr/local/go", "GOPATH=/go", "GOCACHE=/root/.cache", "GOTOOLCHAIN=local"}
	for _, name := range []string{"GOPROXY", "GOSUMDB", "GONOSUMDB"} {
		list = append(list, name+"="+goEnv(b.t, name))
	}
	return list
}

// compiler is what the Go image has over Debian: gcc.
func (b *builder) compiler() string {
	b.t.Helper()
	const install = "apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev"
	out, layer, err := b.inside([]string{b.debian}, place{workdir: "/"}, "", "sh", "-c", install)
	if err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	return layer
}

// standInRelease puts, in place of curl, a program that hands out an archive of the published form: with this machine's ONNX
// Runtime, and for cards with a provider that links to nothing. Its sum takes the place of the pinned one.
func (b *builder) standInRelease(version, stage string) string {
	b.t.Helper()
	flavour := map[string]string{"release-cpu": "x64", "release-gpu": "x64-gpu_cuda13"}[stage]
	dir := filepath.Join(b.dir, "release-"+flavour)
	lib := filepath.Join(dir, "onnxruntime-linux-"+strings.TrimSuffix(flavour, "_cuda13")+"-"+version, "lib")
	if err := os.MkdirAll(lib, 0o755); err != nil {
		b.t.Fatal(err)
	}
	b.run("", nil, "cp", ort.DefaultLibrary(), filepath.Join(lib, "libonnxruntime.so."+version))
	b.run(lib, nil, "ln", "-sf", "libonnxruntime.so."+version, "libonnxruntime.so.1")
	b.run(filepath.Dir(lib), nil, "sh", "-c", "echo licence >LICENSE; echo notices >ThirdPartyNotices.txt")
	if stage == "release-gpu" {
		for _, name := range []string{"shared", "cuda", "tensorrt"} {
			b.run(lib, os.Environ(), "gcc", "-shared", "-o", "libonnxruntime_providers_"+name+".so", "-x", "c", "/dev/null")
		}
	}
	b.run(dir, nil, "tar", "-czf", "archive.tgz", filepath.Base(filepath.Dir(lib)))
	sum := strings.Fields(b.run(dir, nil, "sha256sum", "archive.tgz"))[0]
	standIn(b.t, dir, "curl", `for a; do case "$last" in -o) cp /scripts/archive.tgz "$a";; esac; last=$a; done`+"\n")
	line := fmt.Sprintf("%s  onnxruntime-linux-%s-%s.tgz\n", sum, flavour, version)
	if err := os.WriteFile(filepath.Join(dir, "sums"), []byte(line), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return strings.Join([]string{
		"mount --bind " + dir + "/curl root/usr/bin/curl",
		"touch root/scripts/archive.tgz && mount --bind " + dir + "/archive.tgz root/scripts/archive.tgz",
		"mount --bind " + dir + "/sums root/scripts/onnxruntime-release.sha256",
	}, "\n")
}
