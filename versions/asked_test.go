package versions_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nlmmap/versions"
)

// A field is one of a struct Differences, in the package of a directory.
type field struct{ dir, name string }

// source is the code of several packages: the difference of each field, and where the field is asked for.
type source struct {
	fset   *token.FileSet
	names  map[field]string
	places map[string][]string // by difference
}

// read finds the differences of files and then what asks for them. A file's directory tells its package.
func read(fset *token.FileSet, files []*ast.File) source {
	s := source{fset, map[field]string{}, map[string][]string{}}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if entry, ok := n.(*ast.CompositeLit); ok {
				s.declared(entry)
			}
			return true
		})
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.UnaryExpr:
				return n.Op != token.AND // &d.Field declares
			case *ast.SelectorExpr:
				s.asked(n)
			}
			return true
		})
	}
	return s
}

// declared notes an entry of a table: {Name: "tx-in-place", Value: kernel.Switch(&d.TxInPlace, ...)}.
func (s source) declared(entry *ast.CompositeLit) {
	var name string
	for _, e := range entry.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return
		}
		switch key, _ := kv.Key.(*ast.Ident); {
		case key == nil:
			return
		case key.Name == "Name":
			if lit, ok := kv.Value.(*ast.BasicLit); ok {
				name, _ = strconv.Unquote(lit.Value)
			}
		case key.Name == "Value" && name != "":
			ast.Inspect(kv.Value, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && last(sel.X) == "d" {
					s.names[field{s.dir(sel), sel.Sel.Name}] = name
				}
				return true
			})
		}
	}
}

// asked notes x.D.Field. The field is one of the package that the code is in, or the only one of that name.
func (s source) asked(sel *ast.SelectorExpr) {
	switch last(sel.X) {
	case "D", "d", "Ring", "SKB", "Sock": // the last three are parts of another struct Differences
	default:
		return
	}
	name, ok := s.names[field{s.dir(sel), sel.Sel.Name}]
	for f, other := range s.names {
		if !ok && f.name == sel.Sel.Name {
			name = other
		}
	}
	if name != "" {
		s.places[name] = append(s.places[name], s.fset.Position(sel.Pos()).String())
	}
}

func (s source) dir(n ast.Node) string { return filepath.Dir(s.fset.Position(n.Pos()).Filename) }

// last is the last name of x or of a.b.x.
func last(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

// problems are the differences that are not asked for at exactly one place.
func (s source) problems() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Values(s.names)) {
		if places := s.places[name]; len(places) != 1 {
			list = append(list, fmt.Sprintf("%s is asked for at %d places: %s", name, len(places), strings.Join(places, ", ")))
		}
	}
	return list
}

// TestAskedAtOnePlace: the code asks for each difference at one place, so that there is one place to read what it does.
// Where its effects lie apart, that place chooses a function, or is a method that says in words what is asked.
func TestAskedAtOnePlace(t *testing.T) {
	fset := token.NewFileSet()
	var files []*ast.File
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := read(fset, files)
	for _, p := range s.problems() {
		t.Error(p)
	}
	for _, d := range versions.All() {
		if d.Settable() && len(s.places[d.Name]) == 0 {
			t.Errorf("%s: this test does not find where it is declared", d.Name)
		}
	}
}

// TestAskedCanFail: the test above finds what breaks its rule.
func TestAskedCanFail(t *testing.T) {
	const code = `package p

func (d *Differences) Table() []kernel.Difference {
	return []kernel.Difference{
		{Name: "asked-once", Value: kernel.Switch(&d.Once, since(v41))},
		{Name: "asked-twice", Value: kernel.Number(&d.Twice, 0, 1, in)},
		{Name: "asked-never", Value: kernel.Choice(&d.Never, names, in)},
	}
}

func f(x *X) {
	if x.D.Once || x.D.Twice > 0 || x.Never {
		g(x.y.d.Twice)
	}
}
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p/p.go", code, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"asked-never is asked for at 0 places: ",
		"asked-twice is asked for at 2 places: p/p.go:12:17, p/p.go:13:5",
	}
	if got := read(fset, []*ast.File{f}).problems(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
