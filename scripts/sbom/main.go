// Command sbom says what a built humo-worker is made of, and under which licences:
//
//	sbom [-version V] BINARY DIR   DIR/sbom-cpu.cdx.json and DIR/sbom-gpu.cdx.json, one for each target of the Dockerfile,
//	                               and DIR/licences, the licence texts of every module
//	sbom -table FILE               the table of modules in FILE, between its two markers
//
// It runs in the repository, where the modules' sources are. The same binary gives the same bytes: no time, no random number.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	flags.SetOutput(stderr)
	version := flags.String("version", "dev", "the binary's version, which is not in its build info")
	table := flags.String("table", "", "write the table of modules into this `FILE`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *table != "" && flags.NArg() == 0:
		return writeTable(*table)
	case *table == "" && flags.NArg() == 2:
		return write(flags.Arg(0), *version, flags.Arg(1))
	}
	return fmt.Errorf("give BINARY DIR, or -table FILE")
}

// write makes the bills and the folder of licences of a binary.
func write(binary, version, dir string) error {
	program, err := readProgram(binary)
	if err != nil {
		return err
	}
	modules, err := linked(".")
	if err != nil {
		return err
	}
	if err := sameModules(program.info, modules); err != nil {
		return err
	}
	if err := copyTexts(modules, filepath.Join(dir, "licences")); err != nil {
		return err
	}
	releases, err := readReleases(filepath.Join("scripts", "onnxruntime-release.sha256"))
	if err != nil {
		return err
	}
	for _, release := range releases {
		file, err := os.Create(filepath.Join(dir, "sbom-"+release.target+".cdx.json"))
		if err != nil {
			return err
		}
		err = encode(file, bill(program, version, modules, release))
		if e := file.Close(); err == nil {
			err = e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeTable replaces what stands between the markers of a document.
func writeTable(name string) error {
	modules, err := linked(".")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, _, after, err := cutTable(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(name, []byte(before+table(modules)+after), 0o644)
}
