package explore_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"nlmmap/defects"
	"nlmmap/explore"
	"nlmmap/internal/long"
	"nlmmap/invariant"
	"nlmmap/kernel"
)

var update = flag.Bool("update", false, "write the generated parts of docs/exploration.md and docs/invariants.md")

// fresh compares a generated document with the file, or writes it.
func fresh(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not up to date: run go test ./explore -run Doc -update", path)
	}
}

// TestScoreboardDoc keeps the table in docs/exploration.md true.
func TestScoreboardDoc(t *testing.T) {
	if !*update {
		long.Only(t, "plays the searches of TestScores again")
	}
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	var results []explore.ScoreResult
	for _, s := range explore.Scores(list) {
		r, err := s.Play(context.Background(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	var b bytes.Buffer
	explore.WriteScoreboard(&b, results)
	freshPart(t, "../docs/exploration.md", "scoreboard", b.String())
}

// freshPart does what fresh does with what stands between two comments with a name.
func freshPart(t *testing.T, path, name, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, ok1 := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for %s", path, name)
	}
	fresh(t, path, before+begin+"\n"+want+"\n"+end+after)
}

// TestInvariantsDoc keeps docs/invariants.md true.
func TestInvariantsDoc(t *testing.T) {
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Invariants\n\nEvery run of an exploration is watched for these rules; most are checked at each event, the rest when the run\n" +
		"has ended. See [exploration.md](exploration.md). Generated from package `invariant`.\n")
	for _, i := range invariant.All() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s\n\n", i.Name, i.Statement, i.Why)
		broken := false
		for _, s := range explore.Scores(list) {
			if s.Invariant == i.Name {
				broken = true
				until := "never fixed"
				if s.Absent != explore.Everywhere {
					until = "not in " + s.Absent.String()
				}
				fmt.Fprintf(&b, "* Broken by [`%s`](defects.md) in %v (%s), found by `%s` under %v.\n", s.Defect, s.On, until, s.Program, s.Memory)
			}
		}
		if !broken {
			b.WriteString("* No program of the library finds a modelled kernel that breaks it.\n")
		}
		fmt.Fprintf(&b, "* Checked: %s.\n", i.Checked)
	}
	fresh(t, "../docs/invariants.md", b.String())
}

// TestDeclaredDoc keeps the columns of docs/exploration.md true that say what the search of a program takes today.
func TestDeclaredDoc(t *testing.T) {
	const path, begin, end = "../docs/exploration.md", "<!-- declared -->\n", "<!-- /declared -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	rows := 0
	lines := strings.SplitAfter(table, "\n")
	for i, line := range lines {
		var name string
		var was, schedules, wasSteps, steps int
		if _, err := fmt.Sscanf(line, "| `%s | %d | %d | %d | %d |", &name, &was, &schedules, &wasSteps, &steps); err != nil {
			continue
		}
		rows++
		if schedules > 1000 && !*update && !long.Wanted() {
			continue // takes a minute
		}
		p, ok := explore.Lookup(strings.TrimSuffix(name, "`"))
		if !ok {
			t.Fatalf("there is no program %s", name)
		}
		r := explore.Search(t.Context(), p, explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}, Ignore: []string{explore.Known}})
		if !r.Exhausted {
			t.Errorf("%s: %v", name, r)
			continue
		}
		lines[i] = fmt.Sprintf("| `%s | %d | %d | %d | %d |\n", name, was, r.Runs, wasSteps, r.Steps/int64(r.Runs))
	}
	if rows == 0 {
		t.Errorf("no row of the table in %s says what a program takes", path)
	}
	fresh(t, path, head+begin+strings.Join(lines, "")+end+tail)
}
