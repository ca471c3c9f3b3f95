package image_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// step is one of a job's or an action's.
type step struct{ Name, Uses, Run string }

type steps []step

type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		If          string
		Needs       string
		Permissions map[string]string
		Steps       steps
	}
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func (s steps) has(what string) bool {
	for _, step := range s {
		if strings.Contains(step.Uses, what) || strings.Contains(step.Run, what) {
			return true
		}
	}
	return false
}

func TestWorkflow(t *testing.T) {
	const file, shared = ".github/workflows/image.yml", ".github/actions/image/action.yml"
	var w workflow
	var action struct{ Runs struct{ Steps steps } }
	readYAML(t, file, &w)
	readYAML(t, shared, &action)

	// Foreign actions are pinned by commit, since tags can be moved; a comment says which tag it was.
	uses := regexp.MustCompile(`(?m)uses: *(\S+)(.*)$`)
	commit := regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`)
	for _, name := range []string{file, shared} {
		for _, m := range uses.FindAllStringSubmatch(read(t, name), -1) {
			if m[1] != "./.github/actions/image" && (!commit.MatchString(m[1]) || !strings.HasPrefix(m[2], " # v")) {
				t.Errorf("%s: %s is not pinned by a commit with the tag beside it", name, m[0])
			}
		}
	}

	if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
		t.Errorf("by default a job may %v", w.Permissions)
	}
	for name, job := range w.Jobs {
		switch _, pushes := job.Permissions["packages"]; {
		case name != "release" && job.Permissions != nil:
			t.Errorf("the job %s may %v", name, job.Permissions)
		case pushes && !strings.Contains(job.If, "startsWith(github.ref, 'refs/tags/v')"):
			t.Errorf("the job %s pushes without a tag: %s", name, job.If)
		case name != "test" && job.Needs != "test":
			t.Errorf("the job %s does not wait for the tests", name)
		}
	}
	for _, what := range []string{"make test", "make vuln", "hadolint/hadolint-action", "shellcheck "} {
		if !w.Jobs["test"].Steps.has(what) {
			t.Errorf("the tests lack %s", what)
		}
	}
	for _, what := range []string{"docker/build-push-action", "image-check.sh", "docker stop", "aquasecurity/trivy-action", "sbom.cdx.json", "actions/upload-artifact"} {
		if !action.Runs.Steps.has(what) {
			t.Errorf("%s lacks %s", shared, what)
		}
	}
	// What make runs has its version in tools.mod.
	for _, tool := range []string{"golang.org/x/vuln/cmd/govulncheck", "github.com/golangci/golangci-lint/v2/cmd/golangci-lint"} {
		if !strings.Contains(read(t, "tools.mod"), "\t"+tool+"\n") {
			t.Errorf("tools.mod does not pin %s", tool)
		}
	}
	pushed := slices.IndexFunc(w.Jobs["release"].Steps, func(s step) bool { return strings.HasPrefix(s.Run, "docker push") })
	if pushed != len(w.Jobs["release"].Steps)-1 || w.Jobs["image"].Steps.has("docker push") {
		t.Errorf("the push is not the last step of the release alone")
	}
	d := readDockerfile(t)
	tested, built := find(t, file, `go-version: (\S+)\.x`), strings.TrimPrefix(d.args["GO_IMAGE"], "golang:")
	if version(t, tested) != version(t, built) {
		t.Errorf("the tests run with Go %s, the image is built with %s", tested, built)
	}
}
