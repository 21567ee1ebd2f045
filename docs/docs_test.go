// Package docs_test checks the guide: its scenarios must print what they have stored, and what it points to must exist.
package docs_test

import (
	"context"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// release finds the kernel in the first line of a scenario: "# Linux 4.4.1. What it shows."
var release = regexp.MustCompile(`^# Linux (\d+\.\d+\.\d+)\. `)

// TestScenarios replays each scenario of the guide and compares everything it prints with what is stored. To store
// the output of a changed scenario: go run ./cmd/nlmmap run --kernel VERSION FILE.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m := release.FindSubmatch(text)
			if m == nil {
				t.Fatalf("%s: the first line must name the kernel: # Linux 4.4.1. ...", path)
			}
			version, err := kernel.ParseVersion(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			f, err := scenario.Parse(path, strings.NewReader(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range f.Steps {
				if !step.Recorded {
					t.Errorf("%s:%d: no output is stored", path, step.Line)
				}
			}
			boot := func() (scenario.Target, error) { return sim.New(sim.Config{Version: version, Heap: true}) }
			r := scenario.Verify(context.Background(), boot, f)
			if r.First != nil {
				t.Errorf("%s:%d: %v", path, r.First.Line, r.First)
			}
			if r.Failure != "" {
				t.Errorf("%s: %s", path, r.Failure)
			}
		})
	}
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code     = regexp.MustCompile("`([^`\n]+)`")
	filename = regexp.MustCompile(`^[\w.-]*(/[\w.-]+)*(/|\.(go|md|txt|mod|sum))$`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notWord  = regexp.MustCompile(`[^\w -]`)
	// function finds what the guide calls a function in a file: "`AllocSKB` in `afnetlink/alloc.go`".
	function = regexp.MustCompile("`(\\w+)` in `([\\w/]+\\.go)`")
	// placeholder names stand for files that the reader makes.
	placeholder = regexp.MustCompile(`(^|/)(my(-[a-z]+)?|NAME|DIR|FILE|VERSION|X)(/|\.txt$)`)
)

// TestLinks: every relative link and every file that the guide and the README name exists, and so does every function
// that is said to be in a file. Names are looked for beside the page, among the scenarios and
// at the root.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../README.md") {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if err := checkLink(page, text, m[1]); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
		for _, m := range code.FindAllStringSubmatch(text, -1) {
			for _, word := range strings.Fields(m[1]) {
				word = strings.TrimPrefix(word, "./")
				if !filename.MatchString(word) || placeholder.MatchString(word) || filepath.IsAbs(word) {
					continue
				}
				if !exists(word) && !exists(filepath.Join("scenarios", word)) && !exists(filepath.Join("..", word)) {
					t.Errorf("%s: there is no %s", page, word)
				}
			}
		}
		for _, m := range function.FindAllStringSubmatch(text, -1) {
			src, err := os.ReadFile(filepath.Join("..", m[2]))
			declared := regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type )` + m[1] + `\b`)
			if err != nil || !declared.Match(src) {
				t.Errorf("%s: %s is not in %s", page, m[1], m[2])
			}
		}
	}
}

// TestDependencies: the page about dependencies names every module of go.mod.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:require)?\s+([\w./-]+) v\d`).FindAllSubmatch(mod, -1) {
		if !strings.Contains(string(page), "`"+string(m[1])+"`") {
			t.Errorf("dependencies.md does not explain %s", m[1])
		}
	}
}

// TestLanguage: the page about the language has every directive.
func TestLanguage(t *testing.T) {
	page, err := os.ReadFile("scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	var help strings.Builder
	if err := scenario.Help(&help); err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^[a-z_]+\b`).FindAllString(help.String(), -1)
	if len(names) < 30 {
		t.Fatalf("only %d directives found", len(names))
	}
	for _, name := range names {
		if !regexp.MustCompile("`" + name + "[ `]").Match(page) {
			t.Errorf("scenarios.md does not have %s", name)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkLink follows a link out of a page. An anchor must be a heading of the page it leads to.
func checkLink(page, text, target string) error {
	if strings.Contains(target, "://") {
		return nil
	}
	path, anchor, _ := strings.Cut(target, "#")
	if path != "" {
		path = filepath.Join(filepath.Dir(page), path)
		if !exists(path) {
			return fmt.Errorf("the link to %s leads nowhere", target)
		}
		if anchor == "" {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text = string(raw)
	}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		slug := strings.ReplaceAll(notWord.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		if slug == anchor {
			return nil
		}
	}
	return fmt.Errorf("%s has no heading for the link %s", path, target)
}

// layers says which packages of the module each package may import, as packages.md draws it. A name that ends with a
// slash stands for the packages below it.
var layers = []struct {
	pkg     string
	imports string
}{
	{"uapi", ""},
	{"kernel/sched", ""},
	{"kernel/memmodel", "kernel/sched"},
	{"sys", "uapi"},
	{"kernel", "kernel/ sys uapi"},
	{"skb", "kernel kernel/ uapi"},
	{"ringmm", "kernel kernel/ uapi"},
	{"sock", "kernel kernel/ skb uapi"},
	{"afnetlink", "kernel kernel/ skb ringmm sock uapi"},
	{"subsys/inet", "kernel kernel/inspect skb uapi"},
	{"subsys/nfnetlink", "kernel skb afnetlink uapi"},
	{"subsys/", "kernel skb afnetlink uapi subsys/inet subsys/nfnetlink"},
	{"subsys", "kernel afnetlink subsys/"},
	{"userspace", "sys uapi"},
	{"scenario", "sys uapi"},
	{"scenario/live", "scenario sys uapi"},
	{"litmus", "explore kernel kernel/memmodel scenario scenario/sim sys"},
	{"scenario/boot", "guest internal/workers scenario scenario/live"},
	{"guest", ""},
	{"identify", "internal/workers kernel scenario scenario/sim versions"},
	{"capture", "afnetlink kernel"},
	{"interpose", "kernel sys uapi subsys/inet subsys/rtnetlink"},
	{"trace", "kernel uapi"},
	{"measure", "afnetlink kernel scenario/live subsys sys uapi userspace"},
}

// TestStatic: nlmmap is process 1 of guests, so it must not need the C library, as what imports one of these does.
func TestStatic(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "nlmmap/cmd/nlmmap").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if pkg == "net" || pkg == "os/user" || pkg == "plugin" {
			t.Errorf("nlmmap imports %s", pkg)
		}
	}
}

// TestLayers checks the imports of what is not a test.
func TestLayers(t *testing.T) {
	within := func(pkg, pattern string) bool {
		return pkg == pattern || strings.HasSuffix(pattern, "/") && strings.HasPrefix(pkg, pattern)
	}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			strings.Contains(path, "/internal/") {
			return err
		}
		pkg := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../"))
		for _, layer := range layers {
			if !within(pkg, layer.pkg) {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, spec := range f.Imports {
				name, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "nlmmap/")
				allowed := func(pattern string) bool { return within(name, pattern) }
				if ours && !slices.ContainsFunc(strings.Fields(layer.imports), allowed) {
					t.Errorf("%s imports %s", path, name)
				}
			}
			break
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
