package invariant_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestHears: each invariant hears the events that its check looks at, and no others.
func TestHears(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	looks := map[string]look{} // by function
	var hears []*ast.CompositeLit
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				looks[fn.Name.Name] = lookOf(fn.Body)
			}
		}
		if path == "list.go" {
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.CompositeLit); ok && entry(lit, "on") != nil {
					hears = append(hears, lit)
				}
				return true
			})
		}
	}
	if len(hears) < 15 {
		t.Fatalf("%d invariants are checked at events", len(hears))
	}
	for _, lit := range hears {
		name := entry(lit, "on").(*ast.Ident).Name
		want := map[string]bool{}
		looks[name].all(looks, want, map[string]bool{})
		got := map[string]bool{}
		for _, e := range entry(lit, "hears").(*ast.CompositeLit).Elts {
			got[typeName(e.(*ast.CompositeLit).Type)] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s hears %v and looks at %v", name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// A look is what a function looks at: types of the event of its check, and the functions that it calls with it.
type look struct{ events, calls []string }

func lookOf(body *ast.BlockStmt) (l look) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeAssertExpr:
			if n.Type != nil && isEvent(n.X) {
				l.events = append(l.events, typeName(n.Type))
			}
		case *ast.TypeSwitchStmt:
			if assign, ok := n.Assign.(*ast.AssignStmt); ok && isEvent(assign.Rhs[0].(*ast.TypeAssertExpr).X) {
				for _, c := range n.Body.List {
					for _, typ := range c.(*ast.CaseClause).List {
						l.events = append(l.events, typeName(typ))
					}
				}
			}
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && typeName(sel.X) == "c" {
				l.calls = append(l.calls, sel.Sel.Name)
			}
		}
		return true
	})
	return l
}

// all adds what the function looks at itself, and what the functions do that it calls.
func (l look) all(looks map[string]look, events, seen map[string]bool) {
	for _, e := range l.events {
		events[e] = true
	}
	for _, call := range l.calls {
		if !seen[call] {
			seen[call] = true
			looks[call].all(looks, events, seen)
		}
	}
}

// isEvent reports whether x is c.event.
func isEvent(x ast.Expr) bool { return typeName(x) == "c.event" }

func typeName(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return typeName(x.X) + "." + x.Sel.Name
	}
	return ""
}

// entry is the value of a field of a struct literal.
func entry(lit *ast.CompositeLit, field string) ast.Expr {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok && typeName(kv.Key) == field {
			return kv.Value
		}
	}
	return nil
}
