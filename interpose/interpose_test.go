//go:build linux && amd64

package interpose_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nlmmap/interpose"
	"nlmmap/kernel"
	"nlmmap/subsys"
)

// victim says that the test is to be a supervisor that somebody kills: see TestGuard.
const victim = "INTERPOSE_TEST_VICTIM"

// TestMain: the test is its own stub. Programs mostly wait, so more of them run at a time than there are processors.
func TestMain(m *testing.M) {
	if interpose.IsStub() {
		interpose.Stub()
	}
	if os.Getenv(victim) != "" {
		superviseForEver()
	}
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("8")
	}
	os.Exit(m.Run())
}

// superviseForEver runs a shell with a child in the background, whose number it prints.
func superviseForEver() {
	var t testing.T
	m := boot(&t, kernel.Linux4_4)
	p := m.start(&t, os.Stdout, "/bin/sh", "-c", "sleep 1000 & echo $!; wait")
	<-p.Done()
}

// TestGuard: when the supervisor is killed, all its programs end, those that a program has started, too.
func TestGuard(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), victim+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		_ = cmd.Process.Kill()
		t.Skipf("programs cannot be supervised here: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for range 1000 {
		if !running(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d still runs", pid)
}

// running reports whether a process exists and is no zombie.
func running(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

// A machine is a modelled kernel under which programs run.
type machine struct {
	*interpose.Supervisor
	k        *kernel.Kernel
	system   *subsys.System
	net      *kernel.Net
	mu       sync.Mutex
	reported []string
}

func boot(t testing.TB, release kernel.Release) *machine { return bootFor(t, release, 0) }

// bootFor is boot with a limit of processes.
func bootFor(t testing.TB, release kernel.Release, limit int) *machine {
	t.Helper()
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: release}, Mode: kernel.Free, Memfd: true, Joined: true})
	if err != nil {
		t.Fatal(err)
	}
	system, err := subsys.Register(k)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{k: k, system: system, net: k.NewNet()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m.Supervisor, err = interpose.New(interpose.Config{Kernel: k, Net: m.net, Inet: system.IP, Devices: system.Rtnetlink, Self: self, MaxProcesses: limit,
		Report: func(format string, args ...any) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.reported = append(m.reported, fmt.Sprintf(format, args...))
		}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// end ends the machine. Nothing may be left: no socket, no message, no ring memory, no warning.
func (m *machine) end(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	m.Close(ctx)
	if err := m.k.Close(); err != nil {
		t.Error(err)
	}
}

// start starts a program, and skips the test where seccomp does not let it.
func (m *machine) start(t testing.TB, out io.Writer, path string, args ...string) *interpose.Program {
	t.Helper()
	return m.launch(t, &exec.Cmd{Path: path, Args: append([]string{filepath.Base(path)}, args...), Stdout: out, Stderr: out})
}

// launch is start for a command.
func (m *machine) launch(t testing.TB, cmd *exec.Cmd) *interpose.Program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := interpose.Launch(self, cmd)
	if err != nil {
		if out := fmt.Sprint(cmd.Stderr); strings.Contains(out, "seccomp") {
			t.Skipf("programs cannot be supervised here: %s", out)
		}
		t.Fatalf("%v: %s", err, cmd.Stderr)
	}
	m.Serve(p.Listener)
	return p
}

// run runs a program to its end and returns what it printed and its exit code, -N for signal N. One that does not end is ended.
func (m *machine) run(t testing.TB, path string, args ...string) (string, int) {
	t.Helper()
	var out output
	p := m.start(t, &out, path, args...)
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Errorf("%s %v does not end", path, args)
		_ = p.Signal(syscall.SIGKILL)
	}
	return out.String(), code(t, p)
}

func code(t testing.TB, p *interpose.Program) int {
	t.Helper()
	state, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return -int(ws.Signal())
	}
	return state.ExitCode()
}

// TestWaits: signals, timeouts, poll, select, epoll and bad addresses are as on the kernel underneath.
func TestWaits(t *testing.T) {
	path := client(t, "waits")
	native, _ := exec.Command(path).CombinedOutput()
	m := boot(t, kernel.Linux4_4)
	defer m.end(t)
	got, exit := m.run(t, path)
	if got != string(native) {
		t.Errorf("printed\n%s\nand on the kernel underneath\n%s", got, native)
	}
	if exit != -int(syscall.SIGTERM) {
		t.Errorf("ended with %d, not by SIGTERM", exit)
	}
}

var abuseTime = flag.Duration("abuse", 0, "how long TestAbuse goes on with other seeds")

// TestAbuse: whatever a program does and whenever it dies, the machine stays whole, another program's messages are not touched, and
// nothing is left.
func TestAbuse(t *testing.T) {
	abuse, witness := client(t, "abuse"), client(t, "witness")
	calls := "600"
	if testing.Short() {
		calls = "200"
	}
	one := func(seed int, release kernel.Release, killAfter time.Duration) { // 0 for never
		what := fmt.Sprintf("seed %d on %v, killed after %v", seed, release, killAfter)
		m := boot(t, release)
		defer m.end(t)
		var out, seen output
		w := m.start(t, &seen, witness, "200")
		a := m.start(t, &out, abuse, fmt.Sprint(seed), calls)
		if killAfter != 0 {
			time.Sleep(killAfter)
			_ = a.Signal(syscall.SIGKILL)
		}
		select {
		case <-a.Done():
		case <-time.After(time.Minute):
			t.Errorf("%s: it does not end: %s", what, standing(a.Pid()))
			_ = a.Signal(syscall.SIGKILL)
		}
		if c := code(t, w); c != 0 || seen.String() != "200 messages\n" {
			t.Errorf("%s: the other program ended with %d: %s", what, c, seen.String())
		}
		if c := code(t, a); c != 0 && killAfter == 0 {
			t.Errorf("%s: ended with %d: %s", what, c, out.String())
		}
		if t.Failed() {
			t.Logf("last: %s", what)
		}
	}
	for i, release := range kernel.Releases() {
		one(i, release, 0)
		one(100+i, release, time.Duration(3*i+1)*time.Millisecond)
	}
	runs := 0
	for end := time.Now().Add(*abuseTime); time.Now().Before(end) && !t.Failed(); runs++ {
		killAfter := time.Duration(0)
		if runs%3 != 0 {
			killAfter = rand.N(150 * time.Millisecond)
		}
		one(rand.IntN(1<<30), kernel.Releases()[runs%5], killAfter)
	}
	if runs > 0 {
		t.Logf("%d runs in %v", runs, *abuseTime)
	}
}

// standing says what a process and its children wait for.
func standing(pid int) string {
	var text strings.Builder
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		stat, _ := os.ReadFile(filepath.Join(task, "stat"))
		call, _ := os.ReadFile(filepath.Join(task, "syscall"))
		children, _ := os.ReadFile(filepath.Join(task, "children"))
		fmt.Fprintf(&text, "\n%s: %.40s, call %s", task, stat, call)
		for _, field := range strings.Fields(string(children)) {
			if child, err := strconv.Atoi(field); err == nil {
				text.WriteString(standing(child))
			}
		}
	}
	return text.String()
}

// TestKilled: a program may die in the middle of any call. Nothing stays of it, neither in the machine nor in this process.
func TestKilled(t *testing.T) {
	abuse := client(t, "abuse")
	before := descriptors(t)
	m := boot(t, kernel.Linux4_5)
	for i := range 20 {
		var out output
		p := m.start(t, &out, abuse, fmt.Sprint(i), "100000")
		time.Sleep(time.Duration(i*i) * 100 * time.Microsecond)
		_ = p.Signal(syscall.SIGKILL)
		<-p.Done()
	}
	m.end(t)
	if end := settle(t, holding{descriptors: before, goroutines: runtime.NumGoroutine()}); end.descriptors > before {
		t.Errorf("%d descriptors, %d before: %s", end.descriptors, before, descriptorNames())
	}
}

// descriptorNames says what the descriptors of this process are.
func descriptorNames() string {
	var names []string
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		name, _ := os.Readlink(link)
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// descriptors counts the descriptors of this process, without those in which Go's runtime looks up how much of the processors it may
// use: it opens them when it likes.
func descriptors(t testing.TB) (n int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, _ := os.Readlink("/proc/self/fd/" + e.Name()); !strings.HasPrefix(name, "/sys/fs/cgroup/") {
			n++
		}
	}
	return n
}

// TestManyProcesses: processes come and go, each with sockets of its own, and leave nothing, neither in the machine nor in this
// process.
func TestManyProcesses(t *testing.T) {
	count := 200
	if testing.Short() {
		count = 20
	}
	witness := client(t, "witness")
	before := held(t)
	m := boot(t, kernel.Linux3_10)
	many := func() {
		got, exit := m.run(t, "/bin/sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do %s 2 || exit 1; i=$((i+1)); done | sort -u", count, witness))
		if got != "2 messages\n" || exit != 0 {
			t.Errorf("ended with %d: %s", exit, got)
		}
	}
	many() // what is made once is there now
	between := settle(t, held(t))
	many()
	after := settle(t, between)
	t.Logf("before %+v, after %d processes %+v, after as many again %+v", before, count, between, after)
	if after.descriptors > between.descriptors || after.goroutines > between.goroutines+3 {
		t.Errorf("after %d processes this one has %+v, and after as many again %+v", count, between, after)
	}
	if perProcess := (after.heap - between.heap) / count; perProcess > 1024 && count >= 200 {
		t.Errorf("%d bytes for each process that has ended", perProcess)
	}
	m.end(t)
	if end := settle(t, before); end.descriptors > before.descriptors {
		t.Errorf("at the end this process has %+v, before %+v", end, before)
	}
}

// holding is what this process holds.
type holding struct{ descriptors, goroutines, heap int }

func held(t testing.TB) holding {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return holding{descriptors(t), runtime.NumGoroutine(), int(m.HeapAlloc)}
}

// settle waits, not for ever, until no more is held than wanted: what ends does so by and by.
func settle(t testing.TB, wanted holding) (h holding) {
	for range 1000 {
		if h = held(t); h.descriptors <= wanted.descriptors && h.goroutines <= wanted.goroutines {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return h
}

// TestMaxProcesses: a program that forks without end gets EAGAIN, and others go on.
func TestMaxProcesses(t *testing.T) {
	witness := client(t, "witness")
	m := bootFor(t, kernel.Linux4_4, 12)
	var out output
	bomb := m.start(t, &out, "/bin/sh", "-c", "f() { f & f & sleep 0.2; }; f; f")
	w := m.start(t, &out, witness, "50")
	if c := code(t, w); c != 0 {
		t.Errorf("another program ended with %d: %s", c, out.String())
	}
	<-bomb.Done()
	m.end(t)
	if got := out.String(); !strings.Contains(got, "50 messages\n") || !strings.Contains(got, "fork") {
		t.Errorf("printed %s", got)
	}
}

// TestShell: pipes, background processes and /proc.
func TestShell(t *testing.T) {
	m := boot(t, kernel.Linux4_1)
	got, _ := m.run(t, "/bin/sh", "-c", "cat /proc/net/netlink | head -n 1; (sleep 0.05; echo late) & wait; cat /proc/self/net/nonesuch 2>/dev/null || echo none; exit 3")
	want := "sk       Eth Pid    Groups   Rmem     Wmem     Dump     Locks     Drops     Inode\nlate\nnone\n"
	if got != want {
		t.Errorf("printed\n%s, not\n%s", got, want)
	}
	m.end(t)
}

// TestNamespaces: a network namespace that a program makes is another in the model, too, whoever enters it, and sockets stay where
// they were made.
func TestNamespaces(t *testing.T) {
	for _, tool := range []string{"ip", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s", tool)
		}
	}
	if out, err := exec.Command("unshare", "-rn", "true").CombinedOutput(); err != nil {
		t.Skipf("namespaces cannot be made here: %s", out)
	}
	m := boot(t, kernel.Linux4_4)
	got, exit := m.run(t, "/bin/sh", "-c", `
export SHOW='echo $0: $(ip -o link | cut -d: -f2)'
ip link add home0 type dummy
unshare -rn sh -c 'ip link add away0 type dummy; sh -c "$SHOW" away; export AWAY=$$
	unshare -n sh -c "sh -c \"\$SHOW\" third; nsenter -n -t \$AWAY sh -c \"\$SHOW\" away"'
sh -c "$SHOW" home`)
	want := "away: lo away0\nthird: lo\naway: lo away0\nhome: lo home0\n"
	if got != want || exit != 0 {
		t.Errorf("ended with %d and printed\n%s, not\n%s", exit, got, want)
	}
	m.end(t)
}

// Test32: a 32-bit program gets no netlink socket, of whichever kernel, and hears it.
func Test32(t *testing.T) {
	m := boot(t, kernel.Linux4_4)
	if got, exit := m.run(t, client(t, "socket32")); got != "-97 -97\n" && got != "no 32-bit calls\n" || exit != 0 {
		t.Errorf("ended with %d: %s", exit, got)
	}
	m.end(t)
}

// BenchmarkCalls prints what calls take, under the supervisor and without it, and what memory does.
func BenchmarkCalls(b *testing.B) {
	path := client(b, "callspeed")
	for b.Loop() {
		native, err := exec.Command(path, "30").Output()
		if err != nil {
			b.Fatal(err)
		}
		m := boot(b, kernel.Linux4_4)
		got, _ := m.run(b, path, "30")
		line := func(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", ", ") }
		b.Logf("nanoseconds without a supervisor: %s", line(string(native)))
		b.Logf("nanoseconds under it: %s", line(got))
		m.end(b)
	}
}
