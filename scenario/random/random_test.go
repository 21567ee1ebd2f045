package random_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/random"
	"nlmmap/scenario/sim"
)

func parse(t *testing.T, number uint64) *scenario.File {
	t.Helper()
	f, err := scenario.Parse(random.Name(1, number), strings.NewReader(random.Text(1, number)))
	if err != nil {
		t.Fatalf("%v\n%s", err, random.Text(1, number))
	}
	return f
}

// TestText: every scenario is one of the language, with names that earlier steps make.
func TestText(t *testing.T) {
	for i := range uint64(3000) {
		if err := parse(t, i).CheckNames(); err != nil {
			t.Fatal(err)
		}
	}
	text := random.Text(1, 2)
	if again := random.Text(1, 2); again != text {
		t.Error("a scenario is another the second time")
	}
	if text == random.Text(2, 2) || text == random.Text(1, 3) {
		t.Error("a scenario does not depend on seed and number")
	}
}

// TestWholeLanguage: all directives and all kinds of messages are there.
func TestWholeLanguage(t *testing.T) {
	var language strings.Builder
	if err := scenario.Help(&language); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	steps := 0
	for i := range uint64(2000) {
		for _, s := range parse(t, i).Steps {
			for _, line := range append([]string{s.Directive}, s.Input...) {
				seen[strings.Fields(line)[0]]++
			}
			steps++
		}
	}
	notOfAStep := map[string]bool{"parallel": true, "outcomes": true, "task": true, "Every": true, "Message": true}
	for _, line := range strings.Split(language.String(), "\n") {
		if line == "" || line[0] == ' ' || notOfAStep[strings.Fields(line)[0]] {
			continue
		}
		if name := strings.Fields(line)[0]; seen[name] == 0 {
			t.Errorf("no scenario of 2000 has %s", name)
		}
	}
	if n := steps / 2000; n < 25 || n > 60 {
		t.Errorf("a scenario has %d steps", n)
	}
}

// TestModel: the models come through everything that is drawn, leave nothing behind, and most calls do something.
func TestModel(t *testing.T) {
	failed, all := 0, 0
	for i := range uint64(100) {
		f := parse(t, i)
		release := kernel.Releases()[i%5]
		boot := func() (scenario.Target, error) {
			return sim.New(sim.Config{Version: kernel.Version{Release: release}, InitNet: f.InitNet(), Heap: true})
		}
		outputs, failure := scenario.Play(context.Background(), boot, f)
		if failure != "" {
			t.Errorf("%s on %v: %s", f.Name, release, failure)
		}
		for _, out := range outputs {
			all++
			if strings.HasPrefix(out, "E") || strings.HasPrefix(out, "no such") {
				failed++
			}
		}
	}
	if failed*3 > all {
		t.Errorf("%d of %d steps fail", failed, all)
	}
}

func Example() {
	fmt.Println(random.Name(7, 3))
	text, _, _ := strings.Cut(random.Text(7, 3), "\n\n")
	fmt.Println(text)
	// Output:
	// random-7-3.txt
	// # nlmmap random --seed 7 --from 3
}
