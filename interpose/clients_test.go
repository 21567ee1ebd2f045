//go:build linux && amd64

package interpose_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nlmmap/interpose"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// clients is where the programs are, and what they print on the real kernels.
var clients = filepath.Join("..", "testdata", "clients")

// worlds are the files of testdata/worlds, by the words that the header of a case has for them.
var worlds = map[string]string{
	"a fresh namespace, lo down": "",
	"lo up, IPv6 off":            "lo",
	"lo and dummy0 up, 10.1.0.1/24, one neighbour, one route, IPv6 off": "small",
	"lo and dummy0 up, 10.1.0.1/24, one neighbour, one route":           "small6",
	"lo up":                               "lo6",
	"small + 300 routes + 120 neighbours": "many",
	"lo, NFQUEUE 0 for UDP port 9":        "queue",
	"lo, NFLOG group 1 for UDP port 9":    "log",
}

// A tool is a program of the system.
type tool struct{ ask, version string }

// tools are programs of the system that cases call, with how they tell their version and the one that the cases were recorded with:
// another prints something else.
var tools = map[string]tool{
	"ip":      {"ip -V", "iproute2-6.1.0"},
	"busybox": {"busybox", "BusyBox v1.35.0"},
	"bridge":  {"bridge -V", "bridge utility, 6.1.0"},
	"genl":    {"genl -V", "iproute2-6.1.0"},
	"ss":      {"ss -V", "iproute2-6.1.0"},
	"tc":      {"tc -V", "iproute2-6.1.0"},

	"auditctl": {"auditctl -v", "3.0.9"},

	"genl-ctrl-list":  libnl,
	"nl-addr-add":     libnl,
	"nl-addr-delete":  libnl,
	"nl-addr-list":    libnl,
	"nl-fib-lookup":   libnl,
	"nl-link-list":    libnl,
	"nl-link-set":     libnl,
	"nl-neigh-add":    libnl,
	"nl-neigh-delete": libnl,
	"nl-neigh-list":   libnl,
	"nl-qdisc-add":    libnl,
	"nl-route-add":    libnl,
	"nl-route-delete": libnl,
	"nl-route-get":    libnl,
	"nl-route-list":   libnl,
}

// libnl is what the tools of libnl were recorded with.
var libnl = tool{"nl-link-list -v", "3.7.0"}

// libraries are what programs of testdata/clients are linked with.
var libraries = map[string]string{"nfq": "-lnetfilter_queue", "nflog": "-lnetfilter_log"}

// A clientCase is a program with what it printed on a real kernel: testdata/clients/VERSION/NAME.out.
type clientCase struct {
	command string // for the shell
	world   string
	during  string // what happens while it runs, in words of happen.sh
	sigterm bool   // then it is ended by SIGTERM
	forever bool   // it does not end by itself
	exit    int
	want    string
}

// parseClient reads a case. Its header is the lines that begin with "# ".
func parseClient(text string) (clientCase, error) {
	var c clientCase
	for n := 0; strings.HasPrefix(text, "# "); n++ {
		var line string
		line, text, _ = strings.Cut(text[2:], "\n")
		if n == 0 {
			c.command = line
			continue
		}
		if world, ok := strings.CutPrefix(line, "Linux "); ok {
			_, world, _ = strings.Cut(world, "; ")
			file, ok := worlds[world]
			if !ok {
				return c, fmt.Errorf("no world is called %q", world)
			}
			c.world = file
			continue
		}
		if during, ok := strings.CutPrefix(line, "while it runs: "); ok {
			c.during = during
			continue
		}
		if line == "then SIGTERM" {
			c.sigterm = true
			continue
		}
		if _, err := fmt.Sscanf(line, "exit %d", &c.exit); err != nil {
			return c, fmt.Errorf("what is %q?", line)
		}
		c.forever = strings.Contains(line, "did not end")
	}
	c.want = text
	return c, nil
}

// programs builds what is in testdata/clients as it is asked for.
type programs struct {
	dir  string
	mu   sync.Mutex
	skip map[string]string // why a program is not there, "" when it is
}

var word = regexp.MustCompile(`[A-Za-z0-9_-]+`)

// need skips the test unless all programs of a command are there.
func (p *programs) need(t *testing.T, command string) {
	t.Helper()
	for _, name := range word.FindAllString(command, -1) {
		p.mu.Lock()
		why, ok := p.skip[name]
		if !ok {
			why = p.make(name)
			p.skip[name] = why
		}
		p.mu.Unlock()
		if why != "" {
			t.Skip(why)
		}
	}
}

// make looks for a program, and builds it if it is one of testdata/clients. It says why it is not there.
func (p *programs) make(name string) string {
	if tool, ok := tools[name]; ok {
		ask := strings.Fields(tool.ask)
		if _, err := exec.LookPath(ask[0]); err != nil {
			return fmt.Sprintf("there is no %s: what it prints is not compared", name)
		}
		if out, _ := exec.Command(ask[0], ask[1:]...).CombinedOutput(); !bytes.Contains(out, []byte(tool.version)) {
			return fmt.Sprintf("%s is not of version %s: what it prints is not compared", name, tool.version)
		}
		return ""
	}
	if exists(filepath.Join(clients, name+".c")) {
		return compile(filepath.Join(p.dir, name), name)
	}
	if script := filepath.Join(clients, name+".py"); exists(script) {
		return p.python(script, name)
	}
	if exists(filepath.Join(clients, "go", name)) {
		cmd := exec.Command("go", "build", "-o", filepath.Join(p.dir, name), "./"+name)
		cmd.Dir = filepath.Join(clients, "go")
		cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Sprintf("go cannot build %s, whose modules may not be at hand: %s", name, out)
		}
	}
	return ""
}

// pyroute2 is the version of the library that scripts were recorded with.
const pyroute2 = "0.7.2"

// python puts a script where the shell finds it, unless the system's Python lacks its library.
func (p *programs) python(script, name string) string {
	ask := "import importlib.metadata as m; print(m.version('pyroute2'))"
	if out, err := exec.Command("/usr/bin/python3", "-c", ask).Output(); err != nil || strings.TrimSpace(string(out)) != pyroute2 {
		return fmt.Sprintf("pyroute2 %s is not there (python3-pyroute2): %s is not tried", pyroute2, name)
	}
	text, err := os.ReadFile(script)
	if err == nil {
		err = os.WriteFile(filepath.Join(p.dir, name), text, 0o755)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// compile compiles a program of testdata/clients, and says why it is not there.
func compile(path, name string) string {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "there is no C compiler (cc): the programs of testdata/clients are not tried"
	}
	args := append([]string{"-O2", "-w", "-pthread", "-o", path, filepath.Join(clients, name+".c")}, strings.Fields(libraries[name])...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return fmt.Sprintf("cc cannot compile %s.c: %s", name, out)
	}
	return ""
}

// client compiles a program of testdata/clients.
func client(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if why := compile(path, name); why != "" {
		t.Skip(why)
	}
	return path
}

// TestRealClients: programs print on the models what they print on the real kernels.
func TestRealClients(t *testing.T) {
	p := &programs{dir: t.TempDir(), skip: map[string]string{}}
	for _, release := range kernel.Releases() {
		files, err := filepath.Glob(filepath.Join(clients, release.String(), "*.out"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no cases for %v: %v", release, err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".out")
			t.Run(name+"/"+release.String(), func(t *testing.T) {
				t.Parallel()
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				c, err := parseClient(string(data))
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				p.need(t, c.command)
				p.need(t, c.during)
				m := boot(t, release)
				defer m.end(t)
				if c.world != "" {
					m.setUp(t, filepath.Join("..", "testdata", "worlds", c.world+".txt"))
				}
				c.run(t, m, p.dir)
			})
		}
	}
}

// run runs the case on a machine.
func (c clientCase) run(t *testing.T, m *machine, dir string) {
	t.Helper()
	env := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C", "PYTHONDONTWRITEBYTECODE=1")
	shell := func(out *output, script string) *interpose.Program {
		return m.launch(t, &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: env, Stdout: out, Stderr: out})
	}
	var out output
	p := shell(&out, "exec "+c.command)
	if c.during != "" {
		happen, err := filepath.Abs(filepath.Join(clients, "happen.sh"))
		if err != nil {
			t.Fatal(err)
		}
		var said output
		during := shell(&said, ". "+happen+"; "+c.during)
		if exit := code(t, during); exit != 0 || said.String() != "" {
			t.Errorf("%s: ended with %d: %s", c.during, exit, said.String())
		}
	}
	switch {
	case c.sigterm:
		_ = p.Signal(syscall.SIGTERM)
	case c.forever:
		out.wait(c.want, p)
		select {
		case <-p.Done():
			t.Error("it ended, and on the real kernel it waits for ever")
		case <-time.After(200 * time.Millisecond):
			_ = p.Signal(syscall.SIGKILL)
		}
	}
	select {
	case <-p.Done():
	case <-time.After(3 * time.Minute):
		t.Error("it does not end, as it does on the real kernel")
		_ = p.Signal(syscall.SIGKILL)
	}
	exit := code(t, p)
	if exit < 0 {
		exit = 128 - exit
	}
	if exit != c.exit {
		t.Errorf("ended with %d, and on the real kernel with %d", exit, c.exit)
	}
	if got := out.String(); got != c.want {
		t.Errorf("%s printed\n%s\nand on the real kernel\n%s", c.command, got, c.want)
	}
}

// setUp runs a scenario on the machine.
func (m *machine) setUp(t testing.TB, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := scenario.Parse(file, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	runner := scenario.NewRunner(sim.On(m.system, m.net))
	for i := range f.Steps {
		if got := runner.Step(&f.Steps[i]); f.Steps[i].Recorded && got != f.Steps[i].Output {
			t.Fatalf("%s:%d: %s", file, f.Steps[i].Line, got)
		}
	}
}

// output is what a program has printed so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// wait waits until that is text, or the program has ended.
func (o *output) wait(text string, p *interpose.Program) {
	for range 9000 {
		select {
		case <-p.Done():
			return
		case <-time.After(10 * time.Millisecond):
			if o.String() == text {
				return
			}
		}
	}
}
