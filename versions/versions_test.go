package versions_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlmmap/kernel"
	"nlmmap/versions"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	table := versions.All()
	for name, want := range map[string]string{
		"poll-scans-ring": "poll-scans-ring",
		"poll-prev-frame": "poll-scans-ring",
	} {
		if d, err := table.Find(name); err != nil || d.Name != want {
			t.Errorf("%s: %s, %v", name, d.Name, err)
		}
	}
	_, err := table.Find("poll-scan-ring")
	if err == nil || !strings.Contains(err.Error(), `did you mean "poll-scans-ring"?`) {
		t.Errorf("misspelt: %v", err)
	}
}

// Every name stands for one difference, and every difference is complete.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range versions.All() {
		if seen[d.Name] {
			t.Errorf("%s is there twice", d.Name)
		}
		seen[d.Name] = true
		if d.Text == "" || d.Spec == "" || len(d.Values()) < 2 {
			t.Errorf("%s is incomplete: %+v", d.Name, d)
		}
	}
}

func TestSet(t *testing.T) {
	table := versions.All()
	v44 := kernel.Version{Release: kernel.Linux4_4}
	tests := []struct {
		sets []string
		want map[string]string
		err  string
	}{
		{nil, nil, ""},
		{[]string{"dump-reserve-in-frame=never"}, map[string]string{"dump-reserve-in-frame": "never"}, ""},
		{[]string{"poll-prev-frame=on"}, map[string]string{"poll-scans-ring": "off"}, ""},
		{[]string{"poll-scans-ring=on"}, nil, ""}, // it has that anyway
		{[]string{"poll-scans-ring=off", "poll-scans-ring=on"}, nil, ""},
		{[]string{"poll-scans-ring"}, nil, "expected NAME=VALUE"},
		{[]string{"pol-scans-ring=on"}, nil, `did you mean "poll-scans-ring"?`},
		{[]string{"dump-reserve-in-frame=nevr"}, nil,
			`has no value "nevr": it has never, recvlen, always, no-rx-ring; did you mean "never"?`},
	}
	for _, test := range tests {
		v, err := table.Set(v44, test.sets...)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: %v, want %s", test.sets, err, test.err)
			}
			continue
		}
		if err != nil || v.Release != kernel.Linux4_4 || !maps.Equal(v.Set, test.want) {
			t.Errorf("%q: %+v, %v", test.sets, v, err)
		}
	}
}

// What a kernel file says comes back, and the file of a kernel can be named without its extension.
func TestFile(t *testing.T) {
	table := versions.All()
	v, err := table.Set(kernel.Version{Release: kernel.Linux4_1}, "skip-forward=on", "dump-reserve-in-frame=never")
	if err != nil {
		t.Fatal(err)
	}
	v.Name = "vendor 4.1"
	var b bytes.Buffer
	if err := versions.Write(&b, v); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vendor")
	if err := os.WriteFile(path+versions.Extension, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	got, err := table.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	more, err := table.Set(got, "tap-copy=none")
	if err != nil || more.Name != "vendor 4.1+tap-copy=none" || len(more.Set) != 3 {
		t.Errorf("with another setting: %+v, %v", more, err)
	}
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "f: no kernel line",
		"kernel 4.4.2\n":                     `f:1: unknown kernel version "4.4.2": did you mean "4.4.1"?`,
		"kernel 4.4.1\nset a=b\n":            `f:2: unknown difference "a"`,
		"# x\n\nkernle 4.4.1\n":              "f:3: unexpected line",
		"kernel 4.4.1\nkernel 4.4.1\n":       "f:2: a second kernel line",
		"kernel 4.4.1\nset skip-forward=1\n": `f:2: difference skip-forward has no value "1"`,
	} {
		_, err := versions.All().Read("f", strings.NewReader(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	_, err := versions.All().Load("nosuch")
	if err == nil || !strings.Contains(err.Error(), "and no file of that name") {
		t.Errorf("no such file: %v", err)
	}
}

// docs/versions.md is what "go generate ./..." writes.
func TestDocs(t *testing.T) {
	var want bytes.Buffer
	if err := versions.All().Markdown(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../docs/versions.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/versions.md is stale: run \"go generate ./...\"")
	}
}

func Example() {
	table := versions.All()
	v, err := table.Parse("4.4.1 dump-reserve-in-frame=never")
	fmt.Println(v, err)
	_, err = table.Parse("4.4.1 dump-reserve=never")
	fmt.Println(err)
	// Output:
	// 4.4.1+dump-reserve-in-frame=never <nil>
	// unknown difference "dump-reserve": did you mean "dump-reserve-in-frame"?
}
