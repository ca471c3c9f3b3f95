package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const top = "../.."

// The bills list exactly what is in the binary, with versions, hashes and licences, are valid CycloneDX, and are the same when
// they are made again.
func TestBill(t *testing.T) {
	t.Chdir(top)
	binary := filepath.Join(t.TempDir(), "humo-worker")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}
	for _, d := range info.Deps {
		want = append(want, "pkg:golang/"+d.Path+"@"+d.Version)
	}
	if len(want) < 20 {
		t.Fatalf("the binary has only %d modules", len(want))
	}
	schema := schemaOf(t, "bom-1.6")
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, second} {
		if err := run([]string{"-version", "v1.2.3", binary, dir}, os.Stderr); err != nil {
			t.Fatal(err)
		}
	}
	for target, archive := range map[string]string{"cpu": "-x64-1", "gpu": "-x64-gpu_cuda"} {
		name := "sbom-" + target + ".cdx.json"
		text, again := readFile(t, filepath.Join(first, name)), readFile(t, filepath.Join(second, name))
		if !bytes.Equal(text, again) {
			t.Errorf("%s is another when it is made again", name)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var b cyclonedx.BOM
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatal(err)
		}
		hash, err := hashFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if c := b.Metadata.Component; c.Version != "v1.2.3" || (*c.Hashes)[0].Value != hash {
			t.Errorf("%s is of another program: %+v", name, c)
		}
		checkComponents(t, name, *b.Components, want, archive)
		if refs := *(*b.Dependencies)[0].Dependencies; len(refs) != len(want)+1 {
			t.Errorf("%s: the program depends on %d components, want %d", name, len(refs), len(want)+1)
		}
	}
	// Of each module at least one text lies beside the bills.
	for _, purl := range want {
		texts, err := filepath.Glob(filepath.Join(first, "licences", strings.TrimPrefix(purl, "pkg:golang/"), "*"))
		if err != nil || len(texts) == 0 {
			t.Errorf("%s has no licence text: %v", purl, err)
		}
	}
}

func checkComponents(t *testing.T, name string, list []cyclonedx.Component, want []string, archive string) {
	t.Helper()
	var have []string
	for _, c := range list {
		if c.Licenses == nil || len(*c.Licenses) == 0 {
			t.Errorf("%s: %s has no licence", name, c.Name)
		}
		std := c.Name == "std" // is the compiler's own, with no checksum in a binary
		if !std && (c.Hashes == nil || !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString((*c.Hashes)[0].Value)) {
			t.Errorf("%s: %s has no hash", name, c.Name)
		}
		if c.Name == "onnxruntime" {
			if !strings.Contains(c.Description, "onnxruntime-linux"+archive) {
				t.Errorf("%s is about another archive: %s", name, c.Description)
			}
			continue
		}
		have = append(have, c.PackageURL)
	}
	if !slices.Equal(have, want) {
		t.Errorf("%s lists %q, the binary has %q", name, have, want)
	}
	if len(have) != len(list)-1 {
		t.Errorf("%s does not list ONNX Runtime once", name)
	}
}

// schemaOf compiles a JSON Schema of the standard, which is among the library's files.
func schemaOf(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(strings.TrimSpace(string(out)), "schema")
	compiler := jsonschema.NewCompiler()
	var id string
	for _, file := range []string{name + ".schema.json", "spdx.schema.json", "jsf-0.82.schemax.json"} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(readFile(t, filepath.Join(folder, file))))
		if err != nil {
			t.Fatal(err)
		}
		key, ok := doc.(map[string]any)["$id"].(string)
		if !ok {
			t.Fatalf("%s has no $id", file)
		}
		if strings.HasPrefix(file, name) {
			id = key
		}
		if err := compiler.AddResource(key, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// docs/licences.md names every module of the program with a licence that is allowed, and no other.
func TestLicences(t *testing.T) {
	modules, err := linked(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		if err := refused(m); err != nil {
			t.Error(err)
		}
	}
	_, have, _, err := cutTable(string(readFile(t, top+"/docs/licences.md")))
	if err != nil {
		t.Fatal(err)
	}
	if want := table(modules); have != want {
		t.Errorf("docs/licences.md is out of date: run `make licences` and read what changed. It has\n%s\nwant\n%s", have, want)
	}
}

// A module with a licence that asks for more, with one that nobody knows, and with none are refused.
func TestLicencesThatAreRefused(t *testing.T) {
	mit := string(readFile(t, moduleDir(t, "github.com/rs/zerolog")+"/LICENSE"))
	gpl := `This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public
License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.`
	for name, c := range map[string]struct{ file, text, want string }{
		"allowed":  {"LICENSE", mit, ""},
		"copyleft": {"COPYING", gpl, "is under GPL-3.0"},
		"both":     {"LICENSE", mit + "\n" + gpl, "is under GPL-3.0"},
		"unknown":  {"LICENSE.txt", "You may use this on Tuesdays only, and must send the author a cake.", "0 % of LICENSE.txt"},
		"changed":  {"LICENSE", mit + "\nIn addition, nobody who works for a government may use this software in any way.", "read it"},
		"none":     {"README", mit, "has no licence"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			err := refused(module{path: "example.com/m", version: "v1.0.0", dir: dir, folders: []string{dir}})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A bill of sources that the binary was not built from is refused.
func TestOtherSources(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(top)
	if err := run([]string{self, t.TempDir()}, os.Stderr); err == nil || !strings.Contains(err.Error(), "build it again") {
		t.Errorf("a bill of another program: %v", err)
	}
}

func moduleDir(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
