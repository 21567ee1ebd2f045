package mutate_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"testing"

	"nlmmap/internal/mutate"
)

// queue is a program with something for every rule in it.
const queue = `package queue

type task int

type mutex struct{ held bool }

func (m *mutex) Lock()   { m.held = true }
func (m *mutex) Unlock() { m.held = false }

type queue struct {
	mu      mutex
	list    []int
	n, lost int
	awake   func(t task)
}

func (q *queue) put(t task, v int) bool {
	q.mu.Lock()
	if q.n >= 4 || v < 0 {
		q.lost++
		q.mu.Unlock()
		return false
	}
	q.list = append(q.list, v)
	q.count(t)
	q.wake(t)
	q.mu.Unlock()
	return true
}

func (q *queue) take() (v int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.n == 0:
		return -1
	}
	v, q.list = q.list[0], q.list[1:]
	q.n -= 1
	return v
}

func (q *queue) count(task)  { q.n++ }
func (q *queue) wake(t task) { q.awake(t) }

func (q *queue) String() string {
	if q.n == 0 {
		return "empty"
	}
	return "full"
}
`

// TestRules: what each rule finds, and how the text looks with the mistake in it.
func TestRules(t *testing.T) {
	all, err := mutate.File("queue.go", []byte(queue))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{} // the lines that a mistake changes
	for _, m := range all {
		patch, err := m.Patch([]byte(queue))
		if err != nil {
			t.Fatal(err)
		}
		changed := ""
		for line := range strings.Lines(string(patch)) {
			if (line[0] == '-' || line[0] == '+') && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "+++") {
				changed += line[:1] + strings.TrimSpace(line[1:]) + " "
			}
		}
		got[m.String()] = strings.TrimSpace(changed)
	}
	for what, want := range map[string]string{
		"without the lock `q.mu.Lock()`, in take":              "-q.mu.Lock() -defer q.mu.Unlock()",
		"`q.mu.Unlock()` one step too early, in put":           "-q.wake(t) +q.wake(t)",
		"`q.mu.Unlock()` one step too early, in take":          "-defer q.mu.Unlock() +q.mu.Unlock()",
		"without `q.wake(t)`, in put":                          "-q.wake(t)",
		"`q.wake(t)` too early, in put":                        "-q.count(t) +q.count(t)",
		"`q.n >= 4 || v < 0` never holds, in put":              "-if q.n >= 4 || v < 0 { +if false && (q.n >= 4 || v < 0) {",
		"without the condition `v < 0`, in put":                "-if q.n >= 4 || v < 0 { +if q.n >= 4 {",
		"without the condition `q.n >= 4`, in put":             "-if q.n >= 4 || v < 0 { +if v < 0 {",
		"`q.n == 0` never holds, in take":                      "-case q.n == 0: +case false && (q.n == 0):",
		"without `q.lost++`, in put":                           "-q.lost++",
		"without `q.n -= 1`, in take":                          "-q.n -= 1",
		"without `q.list = append(q.list, v)`, in put":         "-q.list = append(q.list, v)",
		"without `v, q.list = q.list[0], q.list[1:]`, in take": "-v, q.list = q.list[0], q.list[1:]",
		"without `q.n++`, in count":                            "-func (q *queue) count(task)  { q.n++ } +func (q *queue) count(task)  {}",
	} {
		if got[what] != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got[what], want)
		}
	}
	for what := range got {
		if strings.HasSuffix(what, "in String") {
			t.Errorf("%s: that is for people", what)
		}
	}
}

// justPlanted imports the package that the guards of TestGuard ask.
type justPlanted struct{}

func (justPlanted) Import(path string) (*types.Package, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "planted.go", "package planted\nfunc Is(n int) bool { return n == 7 }", 0)
	if err != nil {
		return nil, err
	}
	return new(types.Config).Check(path, fset, []*ast.File{f}, nil)
}

// TestGuard: a file with all its mistakes in it is a correct Go file, which asks for each of them.
func TestGuard(t *testing.T) {
	all, err := mutate.File("queue.go", []byte(queue))
	if err != nil {
		t.Fatal(err)
	}
	text := string(mutate.Guard([]byte(queue), all, 100, `"planted"`, "planted.Is"))
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "queue.go", text, 0)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	config := types.Config{Importer: justPlanted{}}
	if _, err := config.Check("queue", fset, []*ast.File{f}, nil); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	for i := range all {
		if !strings.Contains(text, fmt.Sprintf("planted.Is(%d)", 100+i)) {
			t.Errorf("nothing asks for %v", all[i])
		}
	}
}

func ExampleMutant_Apply() {
	const text = `package log

func write(line string) {
	mu.Lock()
	defer mu.Unlock()
	if full() {
		flush()
	}
	buffer += line
}
`
	all, err := mutate.File("log.go", []byte(text))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range all {
		fmt.Println(m)
	}
	mistake, err := all[0].Apply([]byte(text))
	fmt.Printf("\n%s%v\n", mistake, err)
	// Output:
	// without the lock `mu.Lock()`, in write
	// `mu.Unlock()` one step too early, in write
	// `full()` never holds, in write
	// without `flush()`, in write
	// without `buffer += line`, in write
	//
	// package log
	//
	// func write(line string) {
	// 	if full() {
	// 		flush()
	// 	}
	// 	buffer += line
	// }
	// <nil>
}
