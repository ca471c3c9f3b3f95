//go:build long

// Package scripts_test runs scripts that no other room uses.
package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Several targets run at a time, each has its line with what it did; the first finding ends all of them and is printed with the
// command that repeats it.
func TestFuzz(t *testing.T) {
	script, err := os.ReadFile("fuzz")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"scripts/fuzz": string(script),
		"go.mod":       "module example.com/fuzzed\n\ngo 1.26\n",
		"room/a_test.go": `package room
import "testing"
func FuzzGood(f *testing.F) { f.Fuzz(func(t *testing.T, s string) {}) }
func FuzzAlso(f *testing.F) { f.Fuzz(func(t *testing.T, s string) {}) }
func FuzzBad(f *testing.F) { f.Add("long enough"); f.Fuzz(func(t *testing.T, s string) { if len(s) > 3 { t.Fatal("as asked") } }) }
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command(filepath.Join(dir, "scripts/fuzz"), args...)
		cmd.Env = append(os.Environ(), "FUZZJOBS=3")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("2s", "Good|Also")
	for _, target := range []string{"FuzzGood", "FuzzAlso"} {
		if err != nil || !regexp.MustCompile(`(?m)^room\.`+target+` +[0-9]+ +[0-9]+ +ok$`).MatchString(out) {
			t.Errorf("%s has no line with its numbers: %v\n%s", target, err, out)
		}
	}
	began := time.Now()
	out, err = run("10m")
	if err == nil || strings.Count(out, "FAILED") != 1 || strings.Contains(out, " ok") || !strings.Contains(out, "as asked") ||
		!strings.Contains(out, "To repeat it: go test -run=FuzzBad/seed#0 ./room") {
		t.Errorf("a finding ends in %v\n%s", err, out)
	}
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("a finding ends all after %s", took)
	}
	if out, err = run("1s", "Nothing"); err == nil || !strings.Contains(out, "no target matches Nothing") {
		t.Errorf("nothing to run: %v\n%s", err, out)
	}
}
