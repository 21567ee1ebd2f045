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
	got, exact, err := table.Load(path)
	if err != nil || !exact {
		t.Fatal(exact, err)
	}
	if diff := cmp.Diff(v, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	more, err := table.Set(got, "tap-copy=none")
	if err != nil || more.Name != "vendor 4.1+tap-copy=none" || len(more.Set) != 3 {
		t.Errorf("with another setting: %+v, %v", more, err)
	}
}

// A kernel that is not modelled is the nearest release, unless a file has its name.
func TestNearest(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("4.2.8.kernel", []byte("kernel 4.4.1\nname mine\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"4.4.1":             "4.4.1",
		"4.4":               "4.4.1",
		"4.4.198":           "4.4.1",
		"4.4.0-210-generic": "4.4.1",
		"3.10.0-1160.el7":   "3.10.4",
		"3.13.0-24-generic": "3.10.4",
		"3.16.0-4-amd64":    "3.19.8",
		"4.0.9":             "4.1.18",
		"4.2":               "4.1.18",
		"4.3.0+":            "4.4.1",
		"4.5.0-rc7":         "4.5.7",
		"4.2.8":             "mine",
	} {
		v, exact, err := versions.All().Load(name)
		if err != nil || v.String() != want || exact != (name == "4.4.1" || want == "mine") {
			t.Errorf("%s: %v, exact: %v, %v; want %s", name, v, exact, err, want)
		}
	}
	for name, want := range map[string]string{
		"2.6.32-754.el6":         "came with Linux 3.10",
		"3.9.11":                 "came with Linux 3.10",
		"4.6":                    "went with Linux 4.6",
		"4.41":                   "went with Linux 4.6",
		"6.1.0-13-amd64":         "went with Linux 4.6",
		"9":                      `unknown kernel version "9"`,
		"4.x":                    `unknown kernel version "4.x"`,
		"99999999999999999999.1": "expected one like",
	} {
		if v, _, err := versions.All().Load(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %s", name, v, err, want)
		}
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
	_, _, err := versions.All().Load("nosuch")
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
