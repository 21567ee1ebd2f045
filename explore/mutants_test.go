package explore_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlmmap/internal/long"
	"nlmmap/internal/workers"
)

var updateMutants = flag.Bool("update-mutants", false, "write what TestMutants finds into docs/mutants.md")

// wantedMutants is the flag -mutants.
var wantedMutants = regexp.MustCompile("")

func init() {
	flag.TextVar(wantedMutants, "mutants", regexp.MustCompile(""), "try the mutants only whose names match a regular expression")
}

// A mutant is the 4.5.7 model with one thing dropped: a file of testdata/mutants. It is a patch of the source, whose
// hunks are found by their text (the line numbers do not count, `git apply --recount` takes it too), behind lines that
// say what is expected:
//
//	drops: what is switched off
//	tried: what is to catch it, joined by commas: programs with their memory models, recordings, "litmus FILE", "random" for
//	       random programs, "test PACKAGE" for the tests of a package
//	survives: why nothing can catch it
type mutant struct {
	ID       string // of the file, without .patch: its theme comes first
	Drops    string
	Tried    []string
	Survives string
	Hunks    []hunk
}

// A hunk replaces lines of a file, which has them once.
type hunk struct{ File, Old, New string }

const mutantsDir = "../testdata/mutants"

// loadMutants reads all mutants, in the order of their names.
func loadMutants(t *testing.T) []mutant {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(mutantsDir, "*.patch"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no mutants in %s: %v", mutantsDir, err)
	}
	var all []mutant
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseMutant(strings.TrimSuffix(filepath.Base(path), ".patch"), string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func parseMutant(id, text string) (mutant, error) {
	m := mutant{ID: id}
	file := ""
	inHunk := false
	n := 0
	for line := range strings.Lines(text) {
		n++
		fail := func(what string) (mutant, error) { return m, fmt.Errorf("%s.patch:%d: %s", id, n, what) }
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case strings.HasPrefix(line, "--- a/"):
			file, inHunk = strings.TrimSpace(line[len("--- a/"):]), false
		case strings.HasPrefix(line, "+++ b/"):
		case strings.HasPrefix(line, "@@") && file != "":
			m.Hunks, inHunk = append(m.Hunks, hunk{File: file}), true
		case inHunk:
			h := &m.Hunks[len(m.Hunks)-1]
			switch line[0] {
			case ' ':
				h.Old, h.New = h.Old+line[1:], h.New+line[1:]
			case '-':
				h.Old += line[1:]
			case '+':
				h.New += line[1:]
			default:
				return fail("a line of a hunk starts with a blank, - or +")
			}
		case strings.TrimSpace(line) == "":
		case key == "drops":
			m.Drops = value
		case key == "tried":
			m.Tried = strings.Split(value, ", ")
		case key == "survives":
			m.Survives = value
		default:
			return fail("expected drops:, tried: or survives:")
		}
	}
	if m.Drops == "" || len(m.Tried) == 0 || len(m.Hunks) == 0 {
		return m, fmt.Errorf("%s.patch lacks drops:, tried: or a patch", id)
	}
	return m, nil
}

// mutantBudget is how long a program searches for a mutant.
const mutantBudget = 3 * time.Second

// apply returns the files that the mutant changes, with their new text.
func (m mutant) apply() (map[string]string, error) {
	files := map[string]string{}
	for _, h := range m.Hunks {
		text, ok := files[h.File]
		if !ok {
			b, err := os.ReadFile(filepath.Join("..", h.File))
			if err != nil {
				return nil, err
			}
			text = "\n" + string(b) // so that every line has its beginning
		}
		if n := strings.Count(text, "\n"+h.Old); n != 1 {
			return nil, fmt.Errorf("%s has %d times\n%s", h.File, n, h.Old)
		}
		files[h.File] = strings.Replace(text, "\n"+h.Old, "\n"+h.New, 1)
	}
	for name, text := range files {
		files[name] = text[1:]
	}
	return files, nil
}

// files are the names of what the mutant changes, for people.
func (m mutant) files() string {
	var names []string
	for _, h := range m.Hunks {
		if name := "`" + h.File + "`"; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// build makes the test binary of this package with the mutant in it.
func (m mutant) build(dir string) (binary string, err error) {
	overlay, err := m.overlay(dir)
	if err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "mutant.test")
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%v\n%s", err, out)
	}
	return binary, nil
}

// test runs the tests of a package with the mutant in it: one that fails has caught it.
func (m mutant) test(dir, pkg string) (*mutantCatch, error) {
	overlay, err := m.overlay(dir)
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("go", "test", "-short", "-vet=off", "-count=1", "-timeout=60s", "-overlay", overlay, "../"+pkg).CombinedOutput()
	if err == nil {
		return nil, nil
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			return &mutantCatch{By: "test " + pkg, Invariant: "test", What: name}, nil
		}
		if what, ok := strings.CutPrefix(line, "panic: "); ok {
			return &mutantCatch{By: "test " + pkg, Invariant: "panic", What: what}, nil
		}
	}
	return nil, fmt.Errorf("%v\n%s", err, out)
}

// overlay writes the files of the mutant, and the one that puts them in the place of the module's.
func (m mutant) overlay(dir string) (path string, err error) {
	files, err := m.apply()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, text := range files {
		path, err := filepath.Abs(filepath.Join("..", name))
		if err != nil {
			return "", err
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("mutant%d.go", len(replace)))
		if err := os.WriteFile(replace[path], []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o644)
}

// run does the mutant's job and returns what caught it, nil for nothing.
func (m mutant) run(dir string) (*mutantCatch, error) {
	job := mutantJob{Budget: mutantBudget}
	for _, by := range m.Tried {
		if pkg, ok := strings.CutPrefix(by, "test "); ok {
			if c, err := m.test(dir, pkg); c != nil || err != nil {
				return c, err
			}
			continue
		}
		job.Tried = append(job.Tried, by)
	}
	if len(job.Tried) == 0 {
		return nil, nil
	}
	binary, err := m.build(dir)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "-test.run", "^TestMutantJob$", "-test.timeout", "60s")
	cmd.Env = append(os.Environ(), "MUTANT_JOB="+string(text), "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	_ = os.Remove(binary)
	for line := range strings.Lines(string(out)) {
		if b, ok := strings.CutPrefix(line, "CATCH "); ok {
			c := &mutantCatch{}
			return c, json.Unmarshal([]byte(b), c)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%v\n%s", err, out)
	}
	return nil, nil
}

// TestUnmutated: what catches mutants finds nothing in the model as it is, but what 4.5.7 has anyway.
func TestUnmutated(t *testing.T) {
	long.Only(t, "searches as long as TestMutants")
	seen := map[string]bool{}
	for _, m := range loadMutants(t) {
		for _, by := range m.Tried {
			if seen[by] || strings.HasSuffix(by, ".txt") || strings.HasPrefix(by, "test ") {
				continue
			}
			seen[by] = true
			if c := tryMutant(t, by, mutantJob{Budget: mutantBudget}); c != nil {
				t.Errorf("%s: %s: %s", by, c.Invariant, c.What)
			}
		}
	}
}

// TestMutants: each mutant is caught, except those that say why they are not. Some of them only: -mutants REGEXP.
func TestMutants(t *testing.T) {
	if !*updateMutants {
		long.Only(t, "builds a binary for each mutant")
	}
	all := slices.DeleteFunc(loadMutants(t), func(m mutant) bool { return !wantedMutants.MatchString(m.ID) })
	catches := make([]*mutantCatch, len(all))
	workers.Each(t.Context(), len(all), 2, func(i int) {
		m := all[i]
		c, err := m.run(t.TempDir())
		switch {
		case err != nil:
			t.Errorf("%s: %v", m.ID, err)
		case c == nil && m.Survives == "":
			t.Errorf("%s: nothing of %v catches it", m.ID, m.Tried)
		case c == nil:
			t.Logf("%s: survives", m.ID)
		case c.Invariant == "error":
			t.Errorf("%s: %s: %s", m.ID, c.By, c.What)
		case m.Survives != "":
			t.Errorf("%s: is caught after all, by %s: %s: %s", m.ID, c.By, c.Invariant, c.What)
		default:
			t.Logf("%s: %s after %d schedules: %s: %s", m.ID, c.By, c.Schedules, c.Invariant, c.What)
		}
		catches[i] = c
	})
	if *updateMutants && !t.Failed() {
		rows := mutantsRows(t)
		for i, m := range all {
			rows[m.ID] = m.row(catches[i])
		}
		page, err := os.ReadFile(mutantsDoc)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(page), freshMutants) // which is written by hand
		if err := os.WriteFile(mutantsDoc, []byte(mutantsTable(loadMutants(t), rows)+freshMutants+rest), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	mutantsDoc   = "../docs/mutants.md"
	freshMutants = "\n## Mutants that nobody has chosen\n"
)

var mutantID = regexp.MustCompile("^(?:- .*\\(|\\| .* \\| )`([a-z0-9-]+)`(?:, in| \\| `)")

// mutantsRows are the lines that the page has for mutants, by their names.
func mutantsRows(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(mutantsDoc)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if id := mutantID.FindStringSubmatch(line); id != nil {
			rows[id[1]] = line
		}
	}
	return rows
}

// row is the mutant's line of the page.
func (m mutant) row(c *mutantCatch) string {
	if c == nil {
		return fmt.Sprintf("- **%s** (`%s`, in %s): %s.\n", m.Drops, m.ID, m.files(), m.Survives)
	}
	head := fmt.Sprintf("| %s | `%s` | %s |", m.Drops, m.ID, m.files())
	switch c.Invariant {
	case "outcomes":
		return fmt.Sprintf("%s %s | other outcomes | |\n", head, c.By)
	case "test":
		return fmt.Sprintf("%s %s | `%s` | |\n", head, c.By, c.What)
	case "recording":
		return fmt.Sprintf("%s recording %s | differs at `%s` | |\n", head, c.By, c.What)
	}
	return fmt.Sprintf("%s %s | %s | %d |\n", head, c.By, c.Invariant, c.Schedules)
}

// mutantsTable is the page.
func mutantsTable(all []mutant, rows map[string]string) string {
	var caught, survivors strings.Builder
	for _, m := range all {
		if m.Survives != "" {
			survivors.WriteString(rows[m.ID])
		} else {
			caught.WriteString(rows[m.ID])
		}
	}
	return `# Mutants

Each line is the model, or the library of package userspace, with one barrier, lock, check, wake-up, count or step switched
off or moved by an edit of its source, and
what shows it: a program of the library (with its memory model, if that is not sequentially consistent), a recording, a litmus
file, random programs, or the tests of a package. Violations that the kernel has anyway do not count. The table is written by
` + "`go test ./explore -run TestMutants -update-mutants`" + `, with ` + "`-mutants REGEXP`" + ` the lines of some; the edits are the patches in
` + "`testdata/mutants`" + `.

| switched off | patch | in | caught by | invariant | schedules |
|---|---|---|---|---|---|
` + caught.String() + `
## Survivors

` + survivors.String()
}

// TestParseMutant: what is no mutant is refused with its line.
func TestParseMutant(t *testing.T) {
	const good = "drops: a lock\ntried: two-senders, *.txt\n\n--- a/x.go\n+++ b/x.go\n@@ -1,2 +1,1 @@\n-\tlock\n \twork\n"
	m, err := parseMutant("m", good)
	if err != nil {
		t.Fatal(err)
	}
	want := mutant{ID: "m", Drops: "a lock", Tried: []string{"two-senders", "*.txt"}, Hunks: []hunk{{"x.go", "\tlock\n\twork\n", "\twork\n"}}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for bad, want := range map[string]string{
		"drop: a lock\n" + good:                               "m.patch:1: expected drops:",
		good + "work\n":                                       "m.patch:9: a line of a hunk",
		strings.Replace(good, "--- a/x.go\n", "", 1):          "m.patch:5: expected",
		strings.Replace(good, "drops: a lock", "", 1):         "lacks",
		strings.Replace(good, "tried: two-senders", "\n", 1):  "expected",
		"drops: a lock\ntried: x\n\n--- a/x.go\n+++ b/x.go\n": "lacks",
	} {
		if _, err := parseMutant("m", bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", bad, err, want)
		}
	}
}

// TestMutantsDoc: the page lists the mutants of the source, and their edits fit it.
func TestMutantsDoc(t *testing.T) {
	text, err := os.ReadFile(mutantsDoc)
	if err != nil {
		t.Fatal(err)
	}
	all := loadMutants(t)
	names := map[string]bool{}
	for _, m := range all {
		if names[m.Drops] {
			t.Errorf("two mutants drop %q", m.Drops)
		}
		names[m.Drops] = true
		if _, err := m.apply(); err != nil {
			t.Errorf("%s.patch: %v", m.ID, err)
		}
		row, survivor := fmt.Sprintf("| %s | `%s` | %s |", m.Drops, m.ID, m.files()), fmt.Sprintf("- **%s** (`%s`, in %s): %s.", m.Drops, m.ID, m.files(), m.Survives)
		if !strings.Contains(string(text), row) && !strings.Contains(string(text), survivor) {
			t.Errorf("docs/mutants.md does not have %s.patch: run go test ./explore -run TestMutants -update-mutants", m.ID)
		}
	}
	if n := strings.Count(string(text), "\n| ") - 1 + strings.Count(string(text), "\n- **"); n != len(all) {
		t.Errorf("docs/mutants.md has %d mutants, testdata/mutants %d: run go test ./explore -run TestMutants -update-mutants", n, len(all))
	}
}
