package mutate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"nlmmap/internal/long"
	"nlmmap/internal/mutate"
	"nlmmap/internal/workers"
)

var (
	freshSeed  = flag.Uint64("fresh-seed", 1, "draw the mutants of TestFresh with this seed")
	freshCount = flag.Int("fresh", 50, "how many mutants TestFresh draws")
	freshDir   = flag.String("fresh-dir", "", "keep the binaries of TestFresh in a directory, and use those that are there")
	freshOnly  = flag.Int("fresh-only", -1, "the number of one mutant")
	freshPatch = flag.String("fresh-patch", "", "write a mutant to a file")
)

// root is the module's.
const root = "../.."

// planted are the packages that mistakes are made in.
var planted = []string{"afnetlink", "kernel", "ringmm", "skb", "sock", "subsys", "userspace"}

// A candidate is a mutant with its number in the build that has all of them.
type candidate struct {
	mutate.Mutant
	Number int
}

// candidates returns all mutants of the kernel and of the library, and the overlay of a build that has them.
func candidates(t *testing.T, dir string) (all []candidate, overlay string) {
	t.Helper()
	replace := map[string]string{}
	put := func(name string, text []byte) {
		abs, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		replace[abs] = filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(replace[abs], text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range planted {
		err := filepath.WalkDir(filepath.Join(root, p), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && (d.Name() == "internal" || d.Name() == "inspect" || d.Name() == "testdata" || d.Name() == "memmodel" || d.Name() == "sched") {
				if err == nil {
					err = fs.SkipDir
				}
				return err
			}
			if d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			list, err := mutate.File(filepath.ToSlash(name), text)
			if err != nil || len(list) == 0 {
				return err
			}
			put(name, mutate.Guard(text, list, len(all), `planted "nlmmap/internal/mutate/planted"`, "planted.Is"))
			for _, m := range list {
				all = append(all, candidate{m, len(all)})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("internal/mutate/planted/planted.go", []byte(`package planted

import (
	"os"
	"strconv"
)

var which = func() int {
	if n, err := strconv.Atoi(os.Getenv("NLMMAP_MUTANT")); err == nil {
		return n
	}
	return -1
}()

func Is(n int) bool { return n == which }
`))
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, list, 0o644); err != nil {
		t.Fatal(err)
	}
	return all, overlay
}

// A look is one thing that may catch a mutant: a test binary of a package and what it is to run.
type look struct {
	Name, Package string
	Args          []string
	Env           string
}

func job(tried ...string) string {
	b, _ := json.Marshal(map[string]any{"Tried": tried, "Budget": time.Second})
	return "MUTANT_JOB=" + string(b)
}

// looks are what a mutant of a file is tried with, the cheap and likely first.
func looks(file string) []look {
	short := func(pkg string) look { return look{"test " + pkg, pkg, []string{"-test.short"}, ""} }
	mutants := func(name string, tried ...string) look {
		return look{name, "explore", []string{"-test.run=^TestMutantJob$"}, job(tried...)}
	}
	list := []look{
		mutants("recordings", "*.txt", "3.10.4/*.txt", "3.19.8/*.txt", "4.1.18/*.txt", "4.4.1/*.txt"),
		{"outcomes", "explore/gen", []string{"-test.run=^TestOutcomes$"}, ""},
		mutants("litmus", "litmus *"),
		mutants("programs", "programs"),
		mutants("random", "random"),
		short(filepath.ToSlash(filepath.Dir(file))),
	}
	for _, p := range []string{"afnetlink", "kernel", "userspace", "."} {
		if p != filepath.ToSlash(filepath.Dir(file)) {
			list = append(list, short(p))
		}
	}
	return list
}

// A build is one of the module's tests with all mutants in it.
type build struct {
	t        *testing.T
	dir      string
	overlay  string
	binaries sync.Map // by package: *binary
}

type binary struct {
	once sync.Once
	path string
	err  error
}

// binary is the test binary of a package.
func (f *build) binary(pkg string) (string, error) {
	v, _ := f.binaries.LoadOrStore(pkg, &binary{})
	b := v.(*binary)
	b.once.Do(func() {
		b.path = filepath.Join(f.dir, strings.ReplaceAll(pkg, "/", "_")+".test")
		if _, err := os.Stat(b.path); err == nil {
			return // kept from an earlier run
		}
		cmd := exec.Command("go", "test", "-c", "-vet=off", "-overlay", f.overlay, "-o", b.path, "./"+pkg)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	return b.path, b.err
}

// look tries one thing with a mutant. The limit is one of its processor's time: a machine that has other work to do
// catches no mutant.
func (f *build) look(l look, number int) (caught string, used time.Duration, err error) {
	path, err := f.binary(l.Package)
	if err != nil {
		return "", 0, err
	}
	args := append([]string{"-c", fmt.Sprintf(`ulimit -t %d; exec "$0" "$@"`, int(budget.Seconds())), path}, l.Args...)
	cmd := exec.Command("sh", append(args, "-test.timeout=10m", "-test.failfast")...)
	cmd.Dir = filepath.Join(root, l.Package)
	cmd.Env = append(os.Environ(), l.Env, fmt.Sprint("NLMMAP_MUTANT=", number), "GOMAXPROCS=1", long.Variable+"=")
	out, err := cmd.CombinedOutput()
	used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		for _, prefix := range []string{"CATCH ", "--- FAIL: ", "panic: ", "fatal error: "} {
			if strings.HasPrefix(line, prefix) {
				return l.Name + ": " + line, used, nil
			}
		}
	}
	if err != nil {
		caught = l.Name + ": " + err.Error()
	}
	return caught, used, nil
}

// try looks until something catches the mutant or its time is over.
func (f *build) try(c candidate) (caught string, used time.Duration) {
	for _, l := range looks(c.File) {
		caught, more, err := f.look(l, c.Number)
		if err != nil {
			f.t.Error(err)
			return "", used
		}
		if used += more; caught != "" || used > budget {
			return caught, used
		}
	}
	return "", used
}

// budget is the time of one processor that a mutant has to be caught in.
const budget = 30 * time.Second

// TestFresh draws mutants that nobody has chosen, and tells which of them what is here catches.
func TestFresh(t *testing.T) {
	long.Only(t, "builds the module's tests with all mutants, and runs them for each")
	dir := *freshDir
	if dir == "" {
		dir = t.TempDir()
	}
	all, overlay := candidates(t, dir)
	f := &build{t: t, dir: dir, overlay: overlay}
	if caught, used := f.try(candidate{mutate.Mutant{File: "afnetlink/sock.go"}, -1}); caught != "" {
		t.Fatalf("without a mutant: %s", caught)
	} else {
		t.Logf("%d mutants; all looks at one take %.1fs", len(all), used.Seconds())
	}
	list := rand.New(rand.NewPCG(*freshSeed, 0)).Perm(len(all))[:min(*freshCount, len(all))]
	if *freshOnly >= 0 {
		list = []int{*freshOnly}
	}
	var found atomic.Int64
	workers.Each(t.Context(), len(list), 0, func(i int) {
		c := all[list[i]]
		caught, used := f.try(c)
		verdict := "SURVIVES"
		if caught != "" {
			verdict = "caught by " + caught
			found.Add(1)
		}
		fmt.Printf("%d %.1fs %s:%d: %v: %.200s\n", c.Number, used.Seconds(), c.File, c.Line, c, verdict)
	})
	t.Logf("%d of %d are caught", found.Load(), len(list))
}

// TestWriteFresh writes a mutant of TestFresh as a patch, for testdata/mutants, or lists all with their numbers.
func TestWriteFresh(t *testing.T) {
	if *freshPatch == "" {
		t.Skip("only with -fresh-patch FILE -fresh-only NUMBER, or -fresh-patch FILE alone for a list")
	}
	all, _ := candidates(t, t.TempDir())
	if *freshOnly < 0 {
		var b strings.Builder
		for _, c := range all {
			fmt.Fprintf(&b, "%d\t%s:%d\t%s\t%v\n", c.Number, c.File, c.Line, c.Rule, c)
		}
		if err := os.WriteFile(*freshPatch, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	m := all[*freshOnly]
	text, err := os.ReadFile(filepath.Join(root, m.File))
	if err != nil {
		t.Fatal(err)
	}
	patch, err := m.Patch(text)
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("drops: by rule: %v in %s\ntried: \n\n", m, strings.TrimSuffix(filepath.Base(m.File), ".go"))
	if err := os.WriteFile(*freshPatch, append([]byte(head), patch...), 0o644); err != nil {
		t.Fatal(err)
	}
}
