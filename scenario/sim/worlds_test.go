package sim_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// TestWorlds: the worlds that programs are run in can be set up on every kernel, with every request accepted.
func TestWorlds(t *testing.T) {
	files, err := filepath.Glob("../../testdata/worlds/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no worlds: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := scenario.Parse(name, strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		for r := kernel.Linux3_10; r <= kernel.Linux4_5; r++ {
			m, err := sim.New(sim.Config{Version: kernel.Version{Release: r}})
			if err != nil {
				t.Fatal(err)
			}
			for i, output := range scenario.Run(m, f) {
				if strings.TrimSpace(output) != strings.TrimSpace(f.Steps[i].Output) {
					t.Errorf("%v, %s: %s\n%s", r, name, f.Steps[i].Directive, output)
				}
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
