package inspect_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The packages whose state is declared: kernel code that is written against the machine.
var declared = []string{"afnetlink", "sock", "skb", "ringmm", "subsys/*"}

// TestDeclared: in kernel code
//
//   - nothing imports sync or sync/atomic: what a kernel locks is a machine's lock, what tasks share is in its cells;
//   - nobody makes an inspect.Key: it stands in parameters only;
//   - a struct type that has a cell or a lock is an object that tasks share: its other fields are set where it is made
//     (a composite literal, or a function that makes says) and never after. An skb.SKB is none: it belongs to one task
//     until it is queued, and says what changes then.
func TestDeclared(t *testing.T) {
	for _, pattern := range declared {
		dirs, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(dirs) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, dir := range dirs {
			for _, p := range problems(t, dir) {
				t.Error(p)
			}
		}
	}
}

// TestKeyInKernel: the machine itself names the key in parameters and makes none.
func TestKeyInKernel(t *testing.T) {
	for _, f := range parse(t, "..").files {
		for _, p := range keys(f) {
			t.Error(p)
		}
	}
}

// TestCanFail: each rule finds what breaks it.
func TestCanFail(t *testing.T) {
	want := []string{
		"bad.go:5: imports sync/atomic",
		"bad.go:19: inspect.Key is made or kept",
		"bad.go:25: Sock.name is assigned outside of where Socks are made",
		"bad.go:26: Sock.list is assigned outside of where Socks are made",
		"bad.go:27: Sock.name is assigned outside of where Socks are made",
	}
	if got := problems(t, "testdata"); !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

type pkg struct {
	fset  *token.FileSet
	files []file
}

type file struct {
	name string
	fset *token.FileSet
	*ast.File
}

func (f file) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.name, f.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...))
}

func parse(t *testing.T, dir string) pkg {
	t.Helper()
	p := pkg{fset: token.NewFileSet()}
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(p.fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.files = append(p.files, file{strings.TrimPrefix(path, dir+"/"), p.fset, f})
	}
	return p
}

func problems(t *testing.T, dir string) (list []string) {
	t.Helper()
	p := parse(t, dir)
	shared := sharedTypes(p)
	for _, f := range p.files {
		for _, spec := range f.Imports {
			if name := strings.Trim(spec.Path.Value, `"`); name == "sync" || name == "sync/atomic" {
				list = append(list, f.at(spec, "imports %s", name))
			}
		}
		list = append(list, keys(f)...)
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil && !makes(fn) {
				list = append(list, assignments(f, fn, shared)...)
			}
		}
	}
	return list
}

// keys finds uses of inspect.Key that are not the type of a parameter.
func keys(f file) (list []string) {
	params := map[ast.Node]bool{}
	ast.Inspect(f.File, func(n ast.Node) bool {
		if fn, ok := n.(*ast.FuncType); ok {
			for _, field := range fn.Params.List {
				params[field.Type] = true
			}
		}
		if sel, ok := n.(*ast.SelectorExpr); ok && isKey(sel) && !params[sel] {
			list = append(list, f.at(sel, "inspect.Key is made or kept"))
		}
		return true
	})
	return list
}

func isKey(sel *ast.SelectorExpr) bool {
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == "inspect" && sel.Sel.Name == "Key"
}

// cells are the types of package kernel that make a struct an object that tasks share.
var cells = []string{"Atomic", "Pointer", "Ref", "Index", "Shared", "Guarded", "Mutex", "Spinlock", "WaitQueue", "Timer"}

// sharedTypes returns, for each struct type with a cell or a lock, the names of its other fields.
func sharedTypes(p pkg) map[string][]string {
	shared := map[string][]string{}
	for _, f := range p.files {
		ast.Inspect(f.File, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			has, plain := false, []string{}
			for _, field := range s.Fields.List {
				if isCell(field.Type) {
					has = true
					continue
				}
				for _, name := range field.Names {
					plain = append(plain, name.Name)
				}
			}
			if has && spec.Name.Name != "SKB" {
				shared[spec.Name.Name] = plain
			}
			return true
		})
	}
	return shared
}

func isCell(t ast.Expr) bool {
	switch t := t.(type) {
	case *ast.IndexExpr:
		return isCell(t.X)
	case *ast.IndexListExpr:
		return isCell(t.X)
	case *ast.ArrayType:
		return t.Len != nil && isCell(t.Elt)
	case *ast.SelectorExpr:
		x, ok := t.X.(*ast.Ident)
		return ok && x.Name == "kernel" && slices.Contains(cells, t.Sel.Name)
	}
	return false
}

// makes reports whether a function is one that makes objects, or sets up the machine before it runs.
func makes(fn *ast.FuncDecl) bool {
	for _, prefix := range []string{"New", "new", "Register", "create"} {
		if strings.HasPrefix(fn.Name.Name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"Init", "init", "KernelCreate", "OnRelease", "Notify"}, fn.Name.Name)
}

// assignments finds changes of plain fields of shared objects. Types are told by what a function declares: its receiver,
// its parameters, and variables that hold a new object.
func assignments(f file, fn *ast.FuncDecl, shared map[string][]string) (list []string) {
	types := map[string]string{}
	declare := func(fields *ast.FieldList) {
		if fields == nil {
			return
		}
		for _, field := range fields.List {
			for _, name := range field.Names {
				types[name.Name] = typeName(field.Type)
			}
		}
	}
	declare(fn.Recv)
	declare(fn.Type.Params)
	check := func(target ast.Expr) {
		for {
			switch x := target.(type) {
			case *ast.IndexExpr:
				target = x.X
				continue
			case *ast.SliceExpr:
				target = x.X
				continue
			case *ast.StarExpr:
				target = x.X
				continue
			case *ast.ParenExpr:
				target = x.X
				continue
			case *ast.UnaryExpr:
				target = x.X
				continue
			}
			break
		}
		sel, ok := target.(*ast.SelectorExpr)
		if !ok {
			return
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return
		}
		typ := types[x.Name]
		if slices.Contains(shared[typ], sel.Sel.Name) {
			list = append(list, f.at(sel, "%s.%s is assigned outside of where %ss are made", typ, sel.Sel.Name, typ))
		}
	}
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, target := range n.Lhs {
					check(target)
				}
			}
		case *ast.IncDecStmt:
			check(n.X)
		}
		return true
	})
	return list
}

// typeName is the name of a type of the package, or of what a pointer points to; generic or not.
func typeName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.IndexExpr:
		return typeName(t.X)
	case *ast.IndexListExpr:
		return typeName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
