package docs_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What reliability.md and SECURITY.md name is there: tests, fuzz targets and benchmarks by their names, make targets with their
// variables, scripts, and files that are linked to.
func TestNames(t *testing.T) {
	tests := map[string]bool{}
	for _, files := range source(t, func(name string) bool { return strings.HasSuffix(name, "_test.go") }) {
		for _, file := range files {
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
					tests[f.Name.Name] = true
				}
			}
		}
	}
	makefile := read(t, filepath.Join(top, "Makefile"))
	var scripts []string
	for _, pattern := range []string{"testinput/scripts/*.txtar", "handler/cli/testdata/*/*.txtar"} {
		found, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range found {
			scripts = append(scripts, strings.TrimSuffix(filepath.Base(name), ".txtar"))
		}
	}
	for _, name := range []string{"reliability.md", "../SECURITY.md"} {
		text := read(t, name)
		counted := 0
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)").FindAllStringSubmatch(text, -1) {
			counted++
			if !tests[m[1]] {
				t.Errorf("%s names %s, which is no test", name, m[1])
			}
		}
		if counted < 30 {
			t.Errorf("%s names only %d tests", name, counted)
		}
		for _, m := range regexp.MustCompile("`make ([a-z-]+)([^`]*)`").FindAllStringSubmatch(text, -1) {
			if !regexp.MustCompile("(?m)^" + m[1] + ":").MatchString(makefile) {
				t.Errorf("%s names make %s, which is no target", name, m[1])
			}
			for word := range strings.FieldsSeq(m[2]) {
				variable, _, ok := strings.Cut(word, "=")
				if !ok || !strings.Contains(makefile+read(t, filepath.Join(top, "scripts/fuzz")), variable) {
					t.Errorf("%s: make %s knows no %s", name, m[1], word)
				}
			}
		}
		for _, m := range regexp.MustCompile("scripts? `([a-z0-9_]+)`").FindAllStringSubmatch(text, -1) {
			if !slices.Contains(scripts, m[1]) {
				t.Errorf("%s names the script %s, which is not there", name, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
