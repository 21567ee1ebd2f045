// Package mutate plants small mistakes in Go source, by rule: a call that is left out, a lock that is not taken, a check
// that never holds, two steps in the wrong order. What a project's tests do not notice of them shows where they do not reach.
//
//	all, err := mutate.File("flow.go", text)
//	fmt.Print(all[17], "\n", all[17].Apply(text))
//
// One build can have all mistakes of a package in it, each behind a number that is chosen when it runs: Guard.
package mutate

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// A Rule is a kind of mistake.
type Rule string

// The rules. A statement is one of a block: what stands in the head of a loop or an if is not touched.
const (
	Call   Rule = "call"   // a call whose result nobody uses is left out: barriers, wake-ups, stores, releases
	Lock   Rule = "lock"   // a lock is neither taken nor given back
	Unlock Rule = "unlock" // a lock is given back before the last step that it guards
	Check  Rule = "check"  // the condition of an if or a case never holds
	Half   Rule = "half"   // one of the conditions that && or || join is left out
	Count  Rule = "count"  // ++, --, += and the like are left out
	Step   Rule = "step"   // an assignment is left out
	Swap   Rule = "swap"   // two calls that follow each other change places
)

// A Mutant is one mistake in one file.
type Mutant struct {
	Rule Rule
	File string // as it was given
	Func string
	Line int
	Text string // the first line of what is dropped or moved

	gone  []ast.Node // statements and operands that are not there
	moved []moved    // statements that happen earlier; they are gone where they were
	never ast.Expr   // a condition that does not hold
}

// moved says that a statement happens before another one.
type moved struct{ before, what ast.Stmt }

// String is what the mistake is, for people.
func (m Mutant) String() string {
	what := map[Rule]string{
		Call: "without `%s`", Lock: "without the lock `%s`", Unlock: "`%s` one step too early", Check: "`%s` never holds",
		Half: "without the condition `%s`", Count: "without `%s`", Step: "without `%s`", Swap: "`%s` too early",
	}[m.Rule]
	return fmt.Sprintf(what+", in %s", m.Text, m.Func)
}

// File returns the mistakes that can be made in a file, in the order of its lines. What only tells of the program is left
// alone: see observes.
func File(name string, text []byte) ([]Mutant, error) {
	f := &file{name: name, text: text, fset: token.NewFileSet()}
	tree, err := parser.ParseFile(f.fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range tree.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil && !observer(d) {
			f.function = d.Name.Name
			ast.Inspect(d.Body, f.visit)
		}
	}
	slices.SortStableFunc(f.all, func(a, b Mutant) int { return cmp.Compare(a.Line, b.Line) })
	return f.all, nil
}

// A file is one that mistakes are looked for in.
type file struct {
	name     string
	text     []byte
	fset     *token.FileSet
	function string
	all      []Mutant
}

func (f *file) source(n ast.Node) string { return string(f.text[n.Pos()-1 : n.End()-1]) }

func (f *file) add(rule Rule, at ast.Node, m Mutant) {
	m.Rule, m.File, m.Func, m.Line = rule, f.name, f.function, f.fset.Position(at.Pos()).Line
	m.Text, _, _ = strings.Cut(f.source(at), "\n")
	f.all = append(f.all, m)
}

// visit looks for mistakes in a node. It does not go into what observes.
func (f *file) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		if observes(n.Cond) {
			return false
		}
		f.add(Check, n.Cond, Mutant{never: n.Cond})
	case *ast.SwitchStmt:
		for _, c := range n.Body.List {
			if c := c.(*ast.CaseClause); n.Tag == nil && len(c.List) > 0 {
				f.add(Check, c.List[0], Mutant{never: c.List[0]})
			}
		}
	case *ast.BinaryExpr:
		if n.Op == token.LAND || n.Op == token.LOR {
			for _, side := range []ast.Expr{n.X, n.Y} {
				if b, ok := side.(*ast.BinaryExpr); !ok || b.Op != n.Op {
					f.add(Half, side, Mutant{gone: []ast.Node{side}})
				}
			}
		}
	case *ast.BlockStmt:
		f.list(n.List)
	case *ast.CaseClause:
		f.list(n.Body)
	case *ast.CommClause:
		f.list(n.Body)
	case *ast.CallExpr:
		return !observes(n)
	}
	return true
}

// list looks at the statements of a block.
func (f *file) list(list []ast.Stmt) {
	locks := map[string]ast.Stmt{} // by the text of what is locked
	for i, s := range list {
		if i > 0 && swappable(list[i-1]) && swappable(s) {
			f.add(Swap, s, Mutant{gone: []ast.Node{s}, moved: []moved{{list[i-1], s}}})
		}
		switch s := s.(type) {
		case *ast.AssignStmt:
			switch s.Tok {
			case token.DEFINE:
			case token.ASSIGN:
				if f.source(s.Lhs[0]) != "_" {
					f.add(Step, s, Mutant{gone: []ast.Node{s}})
				}
			default:
				f.add(Count, s, Mutant{gone: []ast.Node{s}})
			}
		case *ast.IncDecStmt:
			f.add(Count, s, Mutant{gone: []ast.Node{s}})
		case *ast.ExprStmt, *ast.DeferStmt:
			c := call(s)
			if c == nil || observes(c) {
				continue
			}
			what, method := selected(c)
			name := ""
			if what != nil {
				name = f.source(what)
			}
			switch {
			case method == "Lock" || method == "lock":
				locks[name] = s
			case (method == "Unlock" || method == "unlock") && locks[name] != nil:
				lock := locks[name]
				delete(locks, name)
				f.add(Lock, lock, Mutant{gone: []ast.Node{lock, s}})
				f.early(list, i, s, lock)
			default:
				f.add(Call, s, Mutant{gone: []ast.Node{s}})
			}
		}
	}
}

// early gives back a lock before the last step that it guards: the one before the unlock, or the last of a function that
// gives back at its end. The step that takes the lock stays before it.
func (f *file) early(list []ast.Stmt, i int, unlock, lock ast.Stmt) {
	what := unlock
	last := i - 1
	if d, ok := unlock.(*ast.DeferStmt); ok {
		what = &ast.ExprStmt{X: d.Call}
		last = len(list) - 1
	}
	if last >= 0 && list[last] != lock && list[last] != unlock {
		f.add(Unlock, what, Mutant{gone: []ast.Node{unlock}, moved: []moved{{list[last], what}}})
	}
}

// call is the call that a statement is, nil for another statement.
func call(s ast.Stmt) *ast.CallExpr {
	switch s := s.(type) {
	case *ast.ExprStmt:
		c, _ := s.X.(*ast.CallExpr)
		return c
	case *ast.DeferStmt:
		return s.Call
	}
	return nil
}

// selected is the method that is called and on what, which is nil for a function.
func selected(c *ast.CallExpr) (on ast.Expr, method string) {
	switch fun := c.Fun.(type) {
	case *ast.SelectorExpr:
		return fun.X, fun.Sel.Name
	case *ast.Ident:
		return nil, fun.Name
	}
	return nil, ""
}

// swappable reports whether a statement may change places with its neighbour: a call by a task, which others may notice.
func swappable(s ast.Stmt) bool {
	e, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	c, ok := e.X.(*ast.CallExpr)
	return ok && !observes(c) && slices.ContainsFunc(c.Args, func(a ast.Expr) bool {
		id, ok := a.(*ast.Ident)
		return ok && (id.Name == "cur" || id.Name == "t")
	})
}

// observers are functions that tell of the program and change nothing that it does.
var observers = []string{"Emit", "emit", "Tracing", "Watched", "claimed", "published", "sends", "panic", "Named", "Guard", "Helper", "Warn"}

// observes reports whether an expression is a call that only tells of the program.
func observes(e ast.Expr) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr:
			_, method := selected(n)
			found = found || slices.Contains(observers, method)
		}
		return !found
	})
	return found
}

// observer reports whether a function is for people or for whoever inspects the program at rest.
func observer(d *ast.FuncDecl) bool {
	if slices.Contains([]string{"String", "Error", "Table", "Inspect"}, d.Name.Name) || slices.Contains(observers, d.Name.Name) {
		return true
	}
	for _, p := range d.Type.Params.List {
		if s, ok := p.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Key" {
			return true
		}
	}
	return false
}

// Apply returns the text of the file with the mistake in it. It may have variables that are not used any more.
func (m Mutant) Apply(text []byte) ([]byte, error) {
	var e edits
	for _, n := range m.gone {
		from, to := n.Pos()-1, n.End()-1
		if _, ok := n.(ast.Stmt); ok {
			from, to = wholeLines(text, from, to)
			e.replace(from, to, "")
			continue
		}
		// A condition goes with what joins it.
		left := strings.TrimRight(string(text[:from]), " \t\n")
		if strings.HasSuffix(left, "&&") || strings.HasSuffix(left, "||") {
			e.replace(token.Pos(len(left)-2), to, "")
			continue
		}
		right := strings.TrimLeft(string(text[to:]), " \t\n")
		e.replace(from, token.Pos(len(text)-len(right)+2), "")
	}
	for _, v := range m.moved {
		e.insert(v.before.Pos()-1, string(text[v.what.Pos()-1:v.what.End()-1])+"\n")
	}
	if m.never != nil {
		e.wrap(m.never, "false && (", ")") // still there, so that its variables are used
	}
	out, err := format.Source(e.apply(text))
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %s: %w", m.File, m.Line, m.Rule, err)
	}
	return out, nil
}

// wholeLines extends a statement to the lines that it has for itself, and to the comment behind it.
func wholeLines(text []byte, from, to token.Pos) (start, end token.Pos) {
	start = token.Pos(bytes.LastIndexByte(text[:from], '\n') + 1)
	rest, _, _ := bytes.Cut(text[to:], []byte("\n"))
	behind := bytes.TrimSpace(rest)
	if len(bytes.TrimSpace(text[start:from])) > 0 || len(behind) > 0 && !bytes.HasPrefix(behind, []byte("//")) {
		return from, to
	}
	return start, to + token.Pos(len(rest)) + 1
}

// Patch returns the mistake as a patch of the file, which stays as it is.
func (m Mutant) Patch(text []byte) ([]byte, error) {
	out, err := m.Apply(text)
	if err != nil {
		return nil, err
	}
	patch := diff.Diff("a/"+m.File, text, "b/"+m.File, out)
	_, patch, _ = bytes.Cut(patch, []byte("\n")) // the line before ---
	return patch, nil
}

// Guard returns the text of a file with all its mistakes in it, each made when fn returns true for its number: first and
// those that follow. fn is the text of a function, imported as "NAME PATH".
func Guard(text []byte, all []Mutant, first int, imports, fn string) []byte {
	var e edits
	_, clause, _ := strings.Cut("\n"+string(text), "\npackage ")
	name, _, _ := strings.Cut(clause, "\n")
	e.insert(token.Pos(len(text)-len(clause)+len(name)), "\nimport "+imports+"\n")
	unless := map[ast.Node][]string{}
	for i, m := range all {
		is := fmt.Sprintf("%s(%d)", fn, first+i)
		for _, n := range m.gone {
			unless[n] = append(unless[n], "!"+is)
		}
		for _, v := range m.moved {
			e.insert(v.before.Pos()-1, "if "+is+" { "+string(text[v.what.Pos()-1:v.what.End()-1])+" }\n")
		}
		if m.never != nil {
			e.wrap(m.never, "!"+is+" && (", ")")
		}
	}
	ors := disjunctions(text, all)
	for n, conditions := range unless {
		not := strings.Join(conditions, " && ")
		switch x := n.(type) {
		case ast.Stmt:
			e.wrap(n, "if "+not+" { ", " }")
		case ast.Expr:
			if ors[x] {
				e.wrap(n, "("+not+" && (", "))")
			} else {
				e.wrap(n, "(!("+not+") || (", "))")
			}
		}
	}
	return e.apply(text)
}

// disjunctions are the conditions that go and that || joins to others.
func disjunctions(text []byte, all []Mutant) map[ast.Node]bool {
	ors := map[ast.Node]bool{}
	for _, m := range all {
		for _, n := range m.gone {
			if _, ok := n.(ast.Expr); !ok {
				continue
			}
			left := strings.TrimRight(string(text[:n.Pos()-1]), " \t\n")
			right := strings.TrimLeft(string(text[n.End()-1:]), " \t\n")
			switch {
			case strings.HasSuffix(left, "||"):
				ors[n] = true
			case strings.HasSuffix(left, "&&"):
			default:
				ors[n] = strings.HasPrefix(right, "||")
			}
		}
	}
	return ors
}

// edits are changes of a text, at offsets.
type edits []edit

type edit struct {
	from, to token.Pos
	text     string
	depth    int // of those at one place the smallest comes first
}

func (e *edits) replace(from, to token.Pos, text string) { *e = append(*e, edit{from, to, text, 0}) }
func (e *edits) insert(at token.Pos, text string)        { *e = append(*e, edit{at, at, text, -1 << 30}) }

// wrap puts text around a node, and around what else is around its parts.
func (e *edits) wrap(n ast.Node, before, after string) {
	size := int(n.End() - n.Pos())
	*e = append(*e, edit{n.Pos() - 1, n.Pos() - 1, before, -size}, edit{n.End() - 1, n.End() - 1, after, size - 1<<31})
}

func (e edits) apply(text []byte) []byte {
	slices.SortStableFunc(e, func(a, b edit) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.depth, b.depth), cmp.Compare(a.text, b.text))
	})
	var out []byte
	at := token.Pos(0)
	for _, x := range e {
		out = append(out, text[at:x.from]...)
		out = append(out, x.text...)
		at = x.to
	}
	return append(out, text[at:]...)
}
