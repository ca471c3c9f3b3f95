package cli_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/humo-worker/humo-worker/handler/cli"
	"github.com/humo-worker/humo-worker/handler/runpod"
)

// docs/settings.md names every variable that any room reads.
func TestSettingsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	names := append(variables(reflect.TypeFor[cli.Settings]()), variables(reflect.TypeFor[runpod.Config]())...)
	if len(names) < 60 {
		t.Fatalf("only %d variables were found: %v", len(names), names)
	}
	for _, name := range names {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/settings.md does not name %s", name)
		}
	}
}

// variables lists the environment variables of a struct's fields.
func variables(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("env"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
		if f.Type.Kind() == reflect.Struct {
			names = append(names, variables(f.Type)...)
		}
	}
	return names
}
