package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed are the licences, by their SPDX names, that a module of the program may have: they ask that their text and the
// authors' names go along, which /usr/share/humo-worker/licences in the image does, and nothing else.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unlicense"}

var (
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicen[cs]e)`)
	textFile    = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicen[cs]e|notice|patents|authors|third_party_licen[cs]es)`)
)

// texts are the files of a module that must go along with it: paths below its folder.
func (m module) texts(which *regexp.Regexp) (names []string, err error) {
	for _, folder := range m.folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && which.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".go" {
				name, err := filepath.Rel(m.dir, filepath.Join(folder, e.Name()))
				if err != nil {
					return nil, err
				}
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// licences are the SPDX names of a module's licences, sorted. A text that is not recognised, or to less than 95 %, is an
// error: somebody must read it.
func (m module) licences() (ids []string, err error) {
	names, err := m.texts(licenceFile)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(m.dir, name))
		if err != nil {
			return nil, err
		}
		coverage := licensecheck.Scan(text)
		if coverage.Percent < 95 {
			return nil, fmt.Errorf("%s %s: %.0f %% of %s is a known licence: read it", m.path, m.version, coverage.Percent, name)
		}
		for _, match := range coverage.Match {
			if !slices.Contains(ids, match.ID) {
				ids = append(ids, match.ID)
			}
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%s %s has no licence", m.path, m.version)
	}
	slices.Sort(ids)
	return ids, nil
}

// refused is an error if a module has a licence that is not allowed.
func refused(m module) error {
	ids, err := m.licences()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.Contains(allowed, id) {
			return fmt.Errorf("%s %s is under %s; allowed are %s", m.path, m.version, id, strings.Join(allowed, ", "))
		}
	}
	return nil
}

// copyTexts puts the texts of each module into dir/PATH@VERSION.
func copyTexts(modules []module, dir string) error {
	for _, m := range modules {
		if err := refused(m); err != nil {
			return err
		}
		names, err := m.texts(textFile)
		if err != nil {
			return err
		}
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(m.dir, name))
			if err != nil {
				return err
			}
			to := filepath.Join(dir, m.path+"@"+m.version, name)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(to, text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	tableBegin = "<!-- made by `make licences`: begin -->\n"
	tableEnd   = "<!-- made by `make licences`: end -->\n"
)

// table is the markdown table of the modules. Versions stand in go.mod and in the bill: a newer version changes no line here
// unless its licence is another.
func table(modules []module) string {
	var b strings.Builder
	b.WriteString("\n| module | licence |\n| --- | --- |\n")
	for _, m := range modules {
		name := "`" + m.path + "`"
		if m.path == "std" {
			name = "Go's standard library and runtime"
		}
		ids, err := m.licences()
		if err == nil {
			err = refused(m)
		}
		if err != nil {
			ids = []string{"**" + err.Error() + "**"}
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, strings.Join(ids, ", "))
	}
	b.WriteString("\n")
	return b.String()
}

// cutTable splits a document at its markers, which stay with what is before and after the table.
func cutTable(text string) (before, table, after string, err error) {
	begin, end := strings.Index(text, tableBegin), strings.Index(text, tableEnd)
	if begin < 0 || end < begin {
		return "", "", "", fmt.Errorf("the markers are missing: %s%s", tableBegin, tableEnd)
	}
	begin += len(tableBegin)
	return text[:begin], text[begin:end], text[end:], nil
}
