// Package docs_test holds the documents to what they say: every error code of the program is in errors.md, and every test and
// make target that reliability.md and SECURITY.md name is there.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const top = ".."

// source is the Go code of a kind below top: its files by package folder.
func source(t *testing.T, want func(name string) bool) map[string][]*ast.File {
	t.Helper()
	packages := map[string][]*ast.File{}
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != top && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || !want(name) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		packages[filepath.Dir(name)] = append(packages[filepath.Dir(name)], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// codes finds the error codes of the program: texts that are given to a parameter or a field called code.
type codes struct {
	constants map[string]string // PACKAGE.NAME of constants that are texts
	places    map[string]int    // PACKAGE.NAME of functions → which parameter is the code
	found     map[string]bool
}

func TestErrors(t *testing.T) {
	packages := source(t, func(name string) bool {
		return !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, filepath.Join(top, "testinput")) && !strings.HasPrefix(name, filepath.Join(top, "examples"))
	})
	c := codes{map[string]string{}, map[string]int{}, map[string]bool{"internal": true}} // fault.CodeOf says it of all that has none
	for _, files := range packages {
		for _, file := range files {
			c.declared(file)
		}
	}
	for _, files := range packages {
		for _, file := range files {
			c.used(file)
		}
	}
	if len(c.found) < 100 {
		t.Fatalf("only %d codes are found in the source", len(c.found))
	}
	text, err := os.ReadFile("errors.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| ((?:`[a-z0-9_]+`(?:, )?)+) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, code := range regexp.MustCompile("[a-z0-9_]+").FindAllString(row[1], -1) {
			if told[code] {
				t.Errorf("errors.md has %s twice", code)
			}
			told[code] = true
		}
	}
	for _, code := range sorted(c.found) {
		if !told[code] {
			t.Errorf("errors.md lacks %s", code)
		}
	}
	for _, code := range sorted(told) {
		if !c.found[code] {
			t.Errorf("errors.md has %s, which nothing in the source says", code)
		}
	}
}

func sorted(set map[string]bool) (list []string) {
	for name := range set {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// declared notes a file's constants and the functions that take a code.
func (c codes) declared(file *ast.File) {
	pkg := file.Name.Name + "."
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if i < len(n.Values) {
					if text, ok := literal(n.Values[i]); ok {
						c.constants[pkg+name.Name] = text
					}
				}
			}
		case *ast.FuncDecl:
			at := 0
			for _, p := range n.Type.Params.List {
				for _, name := range p.Names {
					if kind, ok := p.Type.(*ast.Ident); ok && kind.Name == "string" && name.Name == "code" {
						c.places[pkg+n.Name.Name] = at
					}
					at++
				}
			}
		}
		return true
	})
}

// used notes the codes that a file's calls and literals give.
func (c codes) used(file *ast.File) {
	pkg := file.Name.Name + "."
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := pkg
			switch f := n.Fun.(type) {
			case *ast.Ident:
				name += f.Name
			case *ast.SelectorExpr:
				if of, ok := f.X.(*ast.Ident); ok && hasPackage(c.places, of.Name+"."+f.Sel.Name) {
					name = of.Name + "." + f.Sel.Name
				} else {
					name += f.Sel.Name
				}
			}
			if at, ok := c.places[name]; ok && at < len(n.Args) {
				c.note(pkg, n.Args[at])
			}
		case *ast.KeyValueExpr:
			if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
				c.note(pkg, n.Value)
			}
		}
		return true
	})
}

func hasPackage(places map[string]int, name string) bool {
	_, ok := places[name]
	return ok
}

var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// note takes a code that is written there, or the constant that stands for it; a variable is somebody else's code.
func (c codes) note(pkg string, e ast.Expr) {
	code, ok := literal(e)
	switch e := e.(type) {
	case *ast.Ident:
		code, ok = c.constants[pkg+e.Name]
	case *ast.SelectorExpr:
		if of, is := e.X.(*ast.Ident); is {
			code, ok = c.constants[of.Name+"."+e.Sel.Name]
		}
	}
	if ok && snake.MatchString(code) {
		c.found[code] = true
	}
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}
