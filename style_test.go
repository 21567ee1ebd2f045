package nlmmap_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// eachSource calls fn with the syntax of every Go file.
func eachSource(t *testing.T, fn func(fset *token.FileSet, f *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	n := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err == nil {
			n++
			fn(fset, f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 100 {
		t.Fatalf("%d files: not the whole module", n)
	}
}

// TestNoShadowedBuiltins: no parameter, variable, constant, type or function of a package has the name of a builtin, so
// that len, max, new and string mean everywhere what they mean in Go. Methods and fields may: they are selected.
func TestNoShadowedBuiltins(t *testing.T) {
	eachSource(t, func(fset *token.FileSet, f *ast.File) {
		declares := func(names ...*ast.Ident) {
			for _, n := range names {
				if n != nil && types.Universe.Lookup(n.Name) != nil {
					t.Errorf("%v: %s is a builtin", fset.Position(n.Pos()), n.Name)
				}
			}
		}
		fields := func(l *ast.FieldList) {
			if l == nil {
				return
			}
			for _, field := range l.List {
				declares(field.Names...)
			}
		}
		assigned := func(tok token.Token, list ...ast.Expr) {
			for _, e := range list {
				if id, ok := e.(*ast.Ident); ok && tok == token.DEFINE {
					declares(id)
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil {
					declares(n.Name)
				}
				fields(n.Recv)
			case *ast.FuncType:
				fields(n.Params)
				fields(n.Results)
				fields(n.TypeParams)
			case *ast.ValueSpec:
				declares(n.Names...)
			case *ast.TypeSpec:
				declares(n.Name)
			case *ast.AssignStmt:
				assigned(n.Tok, n.Lhs...)
			case *ast.RangeStmt:
				assigned(n.Tok, n.Key, n.Value)
			}
			return true
		})
	})
}

// TestErrnosWithErrorsIs: errors carry explanations around their errno, so that none is compared with ==.
func TestErrnosWithErrorsIs(t *testing.T) {
	isErrno := func(e ast.Expr) bool {
		sel, ok := e.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		pkg, ok := sel.X.(*ast.Ident)
		return ok && slices.Contains([]string{"kernel", "sys", "unix", "syscall"}, pkg.Name) && errnoName.MatchString(sel.Sel.Name)
	}
	isError := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.Ident:
			return e.Name == "err"
		case *ast.CallExpr: // kernel.ErrnoOf(err) == ...
			sel, ok := e.Fun.(*ast.SelectorExpr)
			return ok && sel.Sel.Name == "ErrnoOf"
		}
		return false
	}
	eachSource(t, func(fset *token.FileSet, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.EQL || b.Op == token.NEQ) && isError(b.X) && isErrno(b.Y) {
				t.Errorf("%v: an errno is compared with %v and not with errors.Is", fset.Position(b.Pos()), b.Op)
			}
			return true
		})
	})
}

var errnoName = regexp.MustCompile(`^E[A-Z0-9]+$`)

// whether matches what Go says with "reports whether".
var whether = regexp.MustCompile(`\b(tells?|says?|checks?|returns?|determines?|indicates?) whether\b`)

// TestDocComments: a function that answers yes or no "reports whether", as in the standard library.
func TestDocComments(t *testing.T) {
	eachSource(t, func(fset *token.FileSet, f *ast.File) {
		for _, decl := range f.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok || d.Doc == nil {
				continue
			}
			text := strings.ReplaceAll(d.Doc.Text(), "\n", " ")
			if m := whether.FindString(new(doc.Package).Synopsis(text)); m != "" {
				t.Errorf("%v: %s %q: it reports whether", fset.Position(d.Pos()), d.Name.Name, m)
			}
		}
	})
}
