//go:build long

package image_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// builder builds the Dockerfile's stages as an image builder does, layer on layer, with overlay mounts and chroot. Every
// base is a Debian root made by debootstrap, the GPU target's too: NVIDIA's image cannot be had from Debian's archive, so what
// it would bring, cuDNN's library, is a stand-in, and so are ONNX Runtime's release archives, whose host is not asked.
type builder struct {
	t      *testing.T
	d      dockerfile
	dir    string // of all layers
	debian string
	layers map[string]string   // of an instruction, by all that it depends on
	built  map[string][]string // a stage's layers, the last one on top
}

// place is where an instruction runs.
type place struct {
	environ []string
	workdir string
}

func (b *builder) run(dir string, environ []string, name string, args ...string) string {
	b.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, environ
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// stack is a stage's root as mount options: the top layer comes first.
func (b *builder) stack(layers []string) string {
	list := make([]string, 0, len(layers))
	for i := len(layers) - 1; i >= 0; i-- {
		list = append(list, layers[i])
	}
	return strings.Join(list, ":")
}

// inside mounts the layers below a new one, which takes what is written, and runs a command in that root, as process 1 of a
// namespace of its own. It returns the output and the new layer.
func (b *builder) inside(layers []string, p place, before string, command ...string) (out, layer string, err error) {
	b.t.Helper()
	work, e := os.MkdirTemp(b.dir, "layer-")
	if e != nil {
		b.t.Fatal(e)
	}
	for _, name := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(work, name), 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	// Programs that an image's engine brings: the resolver's file, the devices, the compiler that the Go image has.
	script := `set -e
cd "$1"
mount -t overlay overlay -o "lowerdir=$2,upperdir=upper,workdir=work" root
mount --rbind /dev root/dev
mount -t proc proc root/proc
touch root/etc/resolv.conf && mount --bind /etc/resolv.conf root/etc/resolv.conf
` + before + `
shift 2
cd /
exec chroot "$OLDPWD/root" "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "build", work,
		b.stack(layers), "sh", "-c", `cd "$0" && exec "$@"`, p.workdir}, command...)...)
	const path = "PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	cmd.Env = append([]string{path, "HOME=/root"}, p.environ...)
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err = cmd.Run()
	return text.String(), filepath.Join(work, "upper"), err
}

// build returns the layers of a stage.
func (b *builder) build(name string) []string {
	b.t.Helper()
	if layers, ok := b.built[name]; ok {
		return layers
	}
	s := b.d.stage(name)
	var layers []string
	switch {
	case b.d.stage(s.base) != nil:
		layers = append(layers, b.build(s.base)...)
	case s.base == "scratch":
	default:
		layers = append(layers, b.debian)
	}
	p := place{workdir: "/"}
	if name == "build" {
		layers = append(layers, b.compiler())
		p.environ = b.goEnviron()
	}
	for _, n := range s.steps {
		list := words(n)
		switch strings.ToUpper(n.Value) {
		case "ARG":
			key, value, ok := strings.Cut(list[0], "=")
			if !ok {
				value = b.d.args[key]
			}
			p.environ = append(p.environ, key+"="+value)
		case "ENV":
			for key, value := range pairs(n) {
				p.environ = append(p.environ, key+"="+os.Expand(value, p.get))
			}
		case "WORKDIR":
			p.workdir = list[0]
			layers = append(layers, b.layer(n, layers, p, func() string {
				dir := b.empty()
				if err := os.MkdirAll(filepath.Join(dir, list[0]), 0o755); err != nil {
					b.t.Fatal(err)
				}
				return dir
			}))
		case "COPY":
			layers = append(layers, b.copy(n, p))
		case "RUN":
			layers = append(layers, b.layer(n, layers, p, func() string { return b.runStep(name, n, layers, p) }))
		}
	}
	b.built[name] = layers
	return layers
}

func (p place) get(name string) string {
	for i := len(p.environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(p.environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// layer makes a layer once: the same instruction on the same layers is the same layer.
func (b *builder) layer(n *parser.Node, layers []string, p place, make func() string) string {
	key := fmt.Sprint(n.Original, layers, p)
	if _, ok := b.layers[key]; !ok {
		b.layers[key] = make()
	}
	return b.layers[key]
}

func (b *builder) empty() string {
	dir, err := os.MkdirTemp(b.dir, "layer-")
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// copy copies from the context, which holds what .dockerignore lets through, or from another stage.
func (b *builder) copy(n *parser.Node, p place) string {
	b.t.Helper()
	list := words(n)
	sources, target := list[:len(list)-1], list[len(list)-1]
	layer := b.empty()
	into := filepath.Join(layer, target)
	if !filepath.IsAbs(target) {
		into = filepath.Join(layer, p.workdir, target)
	}
	folder := strings.HasSuffix(target, "/") || target == "."
	if folder {
		if err := os.MkdirAll(into, 0o755); err != nil {
			b.t.Fatal(err)
		}
	} else if err := os.MkdirAll(filepath.Dir(into), 0o755); err != nil {
		b.t.Fatal(err)
	}
	root, err := filepath.Abs(top)
	if err != nil {
		b.t.Fatal(err)
	}
	roots := []string{root}
	if stage := from(n); stage != "" {
		roots = b.build(stage)
	}
	for _, source := range sources {
		found := false
		for _, root := range roots {
			path := filepath.Join(root, source)
			if _, err := os.Lstat(path); err != nil {
				continue
			}
			found = true
			switch {
			case source == ".": // the program's sources; what else is in the context is copied by name
				const copied = `cd "$0"
tar -c --exclude=testdata --exclude='*_test.go' go.mod go.sum main.go handler inference storage scripts/sbom scripts/*.sha256 | tar -x -C "$1"`
				b.run("", nil, "sh", "-c", copied, root, into)
			case folder:
				b.run("", nil, "cp", "-a", path, into)
			default: // a folder's contents, into one that an earlier layer may have made already
				b.run("", nil, "cp", "-aT", path, into)
			}
		}
		if !found {
			b.t.Fatalf("line %d: there is no %s", n.StartLine, source)
		}
	}
	b.run("", nil, "chown", "-R", "0:0", layer)
	return layer
}
