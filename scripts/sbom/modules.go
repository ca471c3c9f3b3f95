package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// module is what a binary takes from elsewhere: a module, or Go's standard library under the path "std".
type module struct {
	path, version string
	dir           string   // of its sources on this machine
	folders       []string // those that hold linked packages, and all above them up to dir; a licence may lie in each
}

// linked lists the modules that the program of the repository in dir consists of, sorted by path, with "std" first.
func linked(dir string) ([]module, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Standard,Module", ".")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", withStderr(err))
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	std := module{path: "std", version: strings.TrimPrefix(runtime.Version(), "go"), dir: strings.TrimSpace(string(root))}
	std.folders = []string{std.dir} // what it has vendored is by the same authors, under the same licence
	found := map[string]*module{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir      string
			Standard bool
			Module   *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{ Path string }
			}
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		if p.Module.Replace != nil {
			return nil, fmt.Errorf("%s is replaced by %s: the bill would name the wrong one", p.Module.Path, p.Module.Replace.Path)
		}
		m := found[p.Module.Path]
		if m == nil {
			m = &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
			found[p.Module.Path] = m
		}
		for folder := p.Dir; ; folder = filepath.Dir(folder) {
			if !slices.Contains(m.folders, folder) {
				m.folders = append(m.folders, folder)
			}
			if folder == m.dir || !strings.HasPrefix(folder, m.dir) {
				break
			}
		}
	}
	modules := []module{std}
	for _, m := range found {
		slices.Sort(m.folders)
		modules = append(modules, *m)
	}
	slices.SortFunc(modules[1:], func(a, b module) int { return strings.Compare(a.path, b.path) })
	return modules, nil
}

func withStderr(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return err
}

// program is a built binary.
type program struct {
	info   *debug.BuildInfo
	sha256 string // of the file, in hex
}

func readProgram(name string) (program, error) {
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return program{}, err
	}
	sum, err := hashFile(name)
	return program{info, sum}, err
}

// sameModules makes sure that the sources that lie here are those that the binary was built from.
func sameModules(info *debug.BuildInfo, modules []module) error {
	have := map[string]string{"std": strings.TrimPrefix(info.GoVersion, "go")}
	for _, d := range info.Deps {
		if d.Replace != nil {
			return fmt.Errorf("%s was built with %s replaced by %s", info.Path, d.Path, d.Replace.Path)
		}
		have[d.Path] = d.Version
	}
	for _, m := range modules {
		if have[m.path] != m.version {
			return fmt.Errorf("the sources have %s %s, the binary has %q: build it again", m.path, m.version, have[m.path])
		}
		delete(have, m.path)
	}
	for path, version := range have {
		return fmt.Errorf("the binary has %s %s, the sources do not need it: build it again", path, version)
	}
	return nil
}
