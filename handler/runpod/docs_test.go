package runpod_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestTableOfChecks: the table in docs names every test of a check, and none that is not there.
func TestTableOfChecks(t *testing.T) {
	table, err := os.ReadFile("../../docs/runpod-checks.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, written []string
	for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(table, -1) {
		listed = append(listed, string(m[1]))
	}
	var files []string
	for _, room := range []string{".", "..", "../cli", "../localapi", "../../storage", "../../testinput/image"} {
		found, err := filepath.Glob(filepath.Join(room, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(source, -1) {
			written = append(written, string(m[1]))
		}
	}
	for _, name := range listed {
		if !slices.Contains(written, name) {
			t.Errorf("docs/runpod-checks.md names %s, which is not there", name)
		}
	}
	check := regexp.MustCompile(`^TestCheck\d`)
	for _, name := range written {
		if check.MatchString(name) && !slices.Contains(listed, name) {
			t.Errorf("docs/runpod-checks.md does not name %s", name)
		}
	}
}
