package testinput_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sameFromPrograms runs what the page shows as curl and as a command: both are the job on screen.
func sameFromPrograms(v *visitor, env []string) {
	v.t.Helper()
	dir := v.t.TempDir()
	for _, name := range []string{"voice.wav", "person.png"} {
		data, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
		if err != nil {
			v.t.Fatal(err)
		}
	}
	shell := func(script string) []byte {
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.Output()
		if err != nil {
			v.t.Fatalf("%v\n%s\n%s", err, script, out)
		}
		return out
	}
	show := func(kind string) string {
		v.click(`input[name="same"][value="` + kind + `"]`)
		return v.text("#same-text")
	}

	type estimated struct {
		Frames, Width, Height int
		Seed                  json.Number
		Estimate              struct{ Passes, Steps int }
	}
	var asked struct {
		Input map[string]any `json:"input"`
	}
	if err := json.Unmarshal([]byte(show("json")), &asked); err != nil || asked.Input["prompt"] != prompt {
		v.t.Errorf("the JSON is of %q: %v", asked.Input["prompt"], err)
	}
	var ticket struct{ ID string }
	dry := strings.Replace(show("curl"), `"prompt"`, `"dry_run": true, "prompt"`, 1)
	if out := shell(dry); json.Unmarshal(out, &ticket) != nil || ticket.ID == "" {
		v.t.Fatalf("curl's answer is %s", out)
	}
	var status struct {
		Status string
		Output estimated
		Input  struct{ Prompt string }
	}
	for range 100 {
		if get(v.t, v.home+"/jobs/"+ticket.ID, &status); status.Status != "IN_QUEUE" && status.Status != "IN_PROGRESS" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if status.Status != "COMPLETED" || status.Input.Prompt != prompt {
		v.t.Errorf("curl's job is %+v", status)
	}
	var made estimated
	command := show("cli")
	out := shell(command + " --dry-run")
	err := json.Unmarshal(out, &made)
	if err != nil || made != status.Output || made.Estimate.Steps != 80 || made.Seed != "18446744073709551615" {
		v.t.Errorf("the command makes %s, curl %+v", out, status.Output)
	}
	words := strings.Split(string(shell(`humo-worker() { printf '%s\n' "$@"; }; `+command)), "\n")
	if !slices.Contains(words, prompt) {
		v.t.Errorf("the command's words are %q", words)
	}
	show("curl")
}

func get(t *testing.T, url string, into any) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", url, err, data)
	}
}
