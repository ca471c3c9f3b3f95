// Package image_test checks the image without an engine to build one: what the Dockerfile promises, and the files beside
// it that RunPod and GitHub read. Under the tag long it also builds both targets, instruction by instruction, in a Debian
// root of its own.
package image_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// top is the folder of the Dockerfile.
const top = "../.."

// stage is a part of the Dockerfile, from one FROM to the next.
type stage struct {
	name, base string // base has its build arguments filled in
	steps      []*parser.Node
}

// dockerfile is the whole of it.
type dockerfile struct {
	args   map[string]string // the build arguments that stand before the first stage
	stages []stage
}

func readDockerfile(t *testing.T) dockerfile {
	t.Helper()
	file, err := os.Open(filepath.Join(top, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // only read
	parsed, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	d := dockerfile{args: map[string]string{}}
	for _, n := range parsed.AST.Children {
		switch words := words(n); {
		case strings.EqualFold(n.Value, "FROM"):
			s := stage{base: os.Expand(words[0], func(name string) string { return d.args[name] })}
			if len(words) == 3 {
				s.name = words[2]
			}
			d.stages = append(d.stages, s)
		case len(d.stages) > 0:
			s := &d.stages[len(d.stages)-1]
			s.steps = append(s.steps, n)
		default: // ARG is all that may stand there
			name, value, _ := strings.Cut(words[0], "=")
			d.args[name] = value
		}
	}
	return d
}

// words are an instruction's arguments.
func words(n *parser.Node) (list []string) {
	for w := n.Next; w != nil; w = w.Next {
		list = append(list, w.Value)
	}
	return list
}

// pairs are those of an ENV or LABEL, which the parser gives as name, value, "=".
func pairs(n *parser.Node) map[string]string {
	all := map[string]string{}
	for list := words(n); len(list) >= 3; list = list[3:] {
		all[list[0]] = strings.Trim(list[1], `"`)
	}
	return all
}

func (d dockerfile) stage(name string) *stage {
	for i := range d.stages {
		if d.stages[i].name == name {
			return &d.stages[i]
		}
	}
	return nil
}

// all lists the instructions of a kind.
func (s stage) all(kind string) (list []*parser.Node) {
	for _, n := range s.steps {
		if strings.EqualFold(n.Value, kind) {
			list = append(list, n)
		}
	}
	return list
}

// from is the stage that a COPY takes its files from; empty: the context.
func from(n *parser.Node) string {
	for _, f := range n.Flags {
		if name, ok := strings.CutPrefix(f, "--from="); ok {
			return name
		}
	}
	return ""
}

var pinned = regexp.MustCompile(`^[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}$`)

func TestStagesBeginAtPinnedImages(t *testing.T) {
	d := readDockerfile(t)
	for i, s := range d.stages {
		earlier := func(e stage) bool { return e.name == s.base }
		if s.base != "scratch" && !slices.ContainsFunc(d.stages[:i], earlier) && !pinned.MatchString(s.base) {
			t.Errorf("stage %s begins at %s, which is no other stage and no image with a tag and a digest", s.name, s.base)
		}
	}
	if last := d.stages[len(d.stages)-1].name; last != "gpu" {
		t.Errorf("a build without --target gives %s, want gpu", last)
	}
}

// Check 63 of the protocol, and what RunPod's Hub does to an image: it strips and flattens CMD to one line of sh, builds
// programs with apt, and listens on port 80 itself.
func TestCheck63_Targets(t *testing.T) {
	d := readDockerfile(t)
	plain := regexp.MustCompile(`^/[a-z/-]+$`)
	for _, name := range []string{"cpu", "gpu"} {
		s := d.stage(name)
		for _, kind := range []string{"ENTRYPOINT", "USER", "EXPOSE", "VOLUME", "SHELL", "HEALTHCHECK", "ONBUILD"} {
			if n := s.all(kind); len(n) > 0 {
				t.Errorf("%s, line %d: %s", name, n[0].StartLine, n[0].Original)
			}
		}
		cmd := s.all("CMD")
		if len(cmd) != 1 || !cmd[0].Attributes["json"] || !plain.MatchString(strings.Join(words(cmd[0]), " ")) {
			t.Fatalf("%s: CMD is %v, want one path in exec form", name, cmd)
		}
		if stop := s.all("STOPSIGNAL"); len(stop) != 1 || words(stop[0])[0] != "SIGTERM" {
			t.Errorf("%s: STOPSIGNAL is not SIGTERM", name)
		}
		if dir := s.all("WORKDIR"); len(dir) != 1 || words(dir[0])[0] != "/" {
			t.Errorf("%s: WORKDIR is not /", name)
		}
		for _, n := range s.all("RUN") {
			if strings.Contains(words(n)[0], "python") {
				t.Errorf("%s, line %d: %s", name, n.StartLine, n.Original)
			}
		}
		for _, p := range []string{"ca-certificates", "curl", "ffmpeg"} {
			if install := words(s.all("RUN")[0])[0]; !strings.Contains(install, " "+p) {
				t.Errorf("%s: the package %s is not installed: %s", name, p, install)
			}
		}
		for _, l := range []string{"title", "description", "licenses", "version"} {
			if pairs(s.all("LABEL")[0])["org.opencontainers.image."+l] == "" {
				t.Errorf("%s: the label %s is missing", name, l)
			}
		}
		checkLayers(t, name, s)
	}
	licences := func(n *parser.Node) bool { return words(n)[0] == "/out/licences" && from(n) == "build" }
	if !slices.ContainsFunc(d.stage("files").all("COPY"), licences) {
		t.Error("the image has no licence texts")
	}
}

// checkLayers: what changes seldom comes first, the program last, and the image checks itself after that.
func checkLayers(t *testing.T, name string, s *stage) {
	t.Helper()
	var order []string
	for _, n := range s.steps {
		switch list := words(n); strings.ToUpper(n.Value) {
		case "COPY":
			order = append(order, list[len(list)-1])
		case "RUN":
			order = append(order, strings.Fields(list[0])[0])
		}
	}
	const ours = "/usr/share/humo-worker"
	want := []string{"apt-get", "/opt/onnxruntime", ours, ours + "/sbom.cdx.json", "/usr/local/bin/humo-worker", ours + "/image-check.sh"}
	if !slices.Equal(order, want) {
		t.Errorf("%s: the layers are %v, want %v", name, order, want)
	}
	library := pairs(s.all("ENV")[0])["ONNXRUNTIME_LIB"]
	if path.Dir(library) != "/opt/onnxruntime" {
		t.Errorf("%s: ONNXRUNTIME_LIB is %s, the libraries lie in /opt/onnxruntime", name, library)
	}
	if words(s.all("CMD")[0])[0] != "/usr/local/bin/humo-worker" {
		t.Errorf("%s: CMD does not run what was copied", name)
	}
}
