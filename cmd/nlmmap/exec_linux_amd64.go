package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"nlmmap/interpose"
	"nlmmap/invariant"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
	"nlmmap/subsys"
	"nlmmap/trace"
	"nlmmap/versions"
)

func execCommand() command {
	return command{
		name:    "exec",
		summary: "run a program with its netlink sockets on a modelled kernel",
		help: `Usage: nlmmap exec [--kernel K] [--set NAME=VALUE ...] [--setup FILE] [--trace[=FILE]] [--watch]
                   [--timeout TIME] [--name NAME] [--max-procs N] [--] PROGRAM [ARGUMENTS]
       nlmmap exec --join NAME [--timeout TIME] [--] PROGRAM [ARGUMENTS]

Runs the program unmodified. Its AF_NETLINK sockets, with or without rings, are the model's, and so are those of the
programs that it starts; everything else is the kernel's underneath. The machine starts with a fresh network namespace, in
which --setup runs a scenario first. It ends with the program, and what that has left running is ended with it.

--name gives the machine a name, by which other commands can enter it with --join as long as it runs.

The exit code is the program's, 128 + N when signal N ended it, 124 after --timeout, 125 when nlmmap failed, 126 or 127 when the
program cannot be executed or found, 2 for wrong arguments.

Examples:
  nlmmap exec --kernel 3.10.4 -- ip link
  nlmmap exec --kernel 4.4.1 --setup world.txt --trace -- ./reader
  nlmmap exec --name lab -- ip monitor &
  nlmmap exec --join lab -- ip link set lo up
`,
		run: runExec,
	}
}

// Exit codes of exec that are not the program's: those of timeout(1) and env(1).
const (
	exitTimeout    = 124
	exitExecFailed = 125
	exitCannotExec = 126
	exitNotFound   = 127
)

// A traceFlag is --trace or --trace=FILE.
type traceFlag struct {
	on   bool
	file string
}

func (t *traceFlag) String() string   { return t.file }
func (t *traceFlag) IsBoolFlag() bool { return true }

func (t *traceFlag) Set(text string) error {
	t.on = text != "false"
	if text != "true" && text != "false" {
		t.file = text
	}
	return nil
}

// execOptions are the arguments of exec.
type execOptions struct {
	kernel     kernelFlag
	setup      string
	trace      traceFlag
	timeout    time.Duration
	watch      bool
	name, join string
	processes  int
}

func runExec(_ context.Context, e env, c command, args []string) int {
	var o execOptions
	flags := c.flags()
	o.kernel.add(flags, versions.Default.String(), kernelUsage)
	flags.StringVar(&o.setup, "setup", "", "`FILE`: a scenario that runs first, in the same namespace")
	flags.Var(&o.trace, "trace", "print the system calls and what the kernel did to standard error, or to =`FILE`")
	flags.BoolVar(&o.watch, "watch", false, "watch the invariants, and print at the end which were violated, how often and by whom")
	flags.Func("timeout", "end the program after this `TIME`, for example 30s (default: never)", func(text string) (err error) {
		if o.timeout, err = time.ParseDuration(text); err != nil || o.timeout <= 0 {
			return errors.New("a time is more than 0 and has a unit, as 500ms, 30s or 2m")
		}
		return nil
	})
	flags.IntVar(&o.processes, "max-procs", 4096, "most processes at once: fork fails with EAGAIN beyond")
	flags.StringVar(&o.name, "name", "", "`NAME` of the machine, for --join")
	flags.StringVar(&o.join, "join", "", "run on the machine with this `NAME`")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.printHelp(e.stdout, flags)
		return exitOK
	case err != nil:
		return e.bad("exec: %v; see \"nlmmap exec --help\"", err)
	case flags.NArg() == 0:
		return e.bad("exec: which program? See \"nlmmap exec --help\"")
	case o.processes <= 0:
		return e.bad("exec: --max-procs %d: there must be room for the program", o.processes)
	case o.join != "":
		var wrong string
		flags.Visit(func(f *flag.Flag) {
			if f.Name != "join" && f.Name != "timeout" {
				wrong = f.Name
			}
		})
		if wrong != "" {
			return e.bad("exec: --%s is for the command that starts the machine, and --join enters one that runs", wrong)
		}
	}
	path, err := exec.LookPath(flags.Arg(0))
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner
		}
		fmt.Fprintf(e.stderr, "nlmmap: exec: %s: %v\n", flags.Arg(0), err)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			return exitNotFound
		}
		return exitCannotExec
	}
	cmd := &exec.Cmd{Path: path, Args: flags.Args(), Stdin: e.stdin, Stdout: e.stdout, Stderr: e.stderr}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if o.join != "" {
		return e.joinMachine(o, cmd, signals)
	}
	version, err := e.version(o.kernel, versions.All())
	if err != nil {
		return e.bad("%v", err)
	}
	return e.execOn(version, o, cmd, signals)
}

// execOn boots a machine and runs the program on it. Signals are for the program, and before it runs for nlmmap.
func (e env) execOn(version kernel.Version, o execOptions, cmd *exec.Cmd, signals <-chan os.Signal) int {
	failed := func(err error) int {
		fmt.Fprintf(e.stderr, "nlmmap: exec: %v\n", err)
		return exitExecFailed
	}
	// One report is one write, as the program writes to the same place.
	report := func(format string, args ...any) { fmt.Fprintf(e.stderr, "nlmmap: "+format+"\n", args...) }
	cfg := kernel.Config{Version: version, Mode: kernel.Free, Memfd: true, Joined: true}
	if o.trace.on {
		w := e.stderr
		if o.trace.file != "" {
			f, err := os.Create(o.trace.file)
			if err != nil {
				return e.bad("%v", err)
			}
			defer f.Close()
			w = f
		}
		cfg.Trace = tracer(w)
	}
	var watch watcher
	if o.watch {
		cfg.Trace, cfg.Quiet = watch.listen(cfg.Trace)
	}
	system, err := subsys.Boot(cfg)
	if err != nil {
		return failed(err)
	}
	k, net := system.Kernel, system.Kernel.NewNet()
	if o.setup != "" {
		set := make(chan error, 1)
		go func() { set <- e.setUp(o.setup, system, net) }()
		select {
		case err := <-set:
			if err != nil {
				return e.bad("%v", err)
			}
		case sig := <-signals:
			report("exec: %v during --setup", sig)
			return 128 + int(sig.(syscall.Signal))
		}
	}
	self, err := os.Executable()
	if err != nil {
		return failed(err)
	}
	s, err := interpose.New(interpose.Config{Kernel: k, Net: net, Inet: system.IP, Devices: system.Rtnetlink, Report: report, MaxProcesses: o.processes, Self: self})
	if err != nil {
		return failed(err)
	}
	stop := func() {}
	if o.name != "" {
		if stop, err = listenForJoins(o.name, s); err != nil {
			return failed(err)
		}
	}
	code := e.runProgram(o, cmd, signals, func(p *interpose.Program) error {
		s.Serve(p.Listener)
		return nil
	})
	stop()
	end, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	n := s.Close(end)
	if o.watch {
		watch.watch.Rest(k, true)
		watch.print(report)
	}
	if n > 0 {
		report("exec: ended %d processes that %s had left running", n, filepath.Base(cmd.Path))
	}
	if err := k.Close(); err != nil {
		report("the model failed: %v", err)
		if code == 0 {
			return exitExecFailed
		}
	}
	return code
}

// A watcher counts violations of the invariants.
type watcher struct {
	watch  invariant.Watch
	mu     sync.Mutex
	counts map[string]int
	order  []string
}

// listen returns what the machine is to tell everything it does, and whether that is for the watcher alone.
func (w *watcher) listen(also func(kernel.Record)) (listen func(kernel.Record), quiet bool) {
	w.counts = map[string]int{}
	w.watch.Report = func(v invariant.Violation) {
		w.mu.Lock()
		defer w.mu.Unlock()
		text := v.Error()
		if w.counts[text]++; w.counts[text] == 1 {
			w.order = append(w.order, text)
		}
	}
	if also == nil {
		return w.watch.Record, true
	}
	return func(r kernel.Record) {
		w.watch.Record(r)
		also(r)
	}, false
}

func (w *watcher) print(report func(format string, args ...any)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 {
		report("exec: no invariant was violated")
	}
	const most = 20
	for i, text := range w.order {
		if i == most {
			report("exec: and %d other violations", len(w.order)-most)
			return
		}
		report("exec: %d times: %s", w.counts[text], text)
	}
}

// tracer prints records, of which several may come at once.
func tracer(w io.Writer) func(kernel.Record) {
	var mu sync.Mutex
	p := &trace.Printer{W: w}
	return func(r kernel.Record) {
		mu.Lock()
		defer mu.Unlock()
		p.Record(r)
	}
}

// setUp runs a scenario on the machine. Its sockets stay open as long as the machine runs.
func (e env) setUp(path string, system *subsys.System, net *kernel.Net) error {
	f, err := e.open(path)
	if err != nil {
		return err
	}
	if err := serial([]*scenario.File{f}, "a set-up has no parallel block"); err != nil {
		return err
	}
	runner := scenario.NewRunner(sim.On(system, net))
	for i := range f.Steps {
		step := f.Steps[i]
		if out := runner.Step(&step); step.Recorded && out != step.Output {
			return fmt.Errorf("%s:%d: %s gives\n%sand not, as the file says,\n%s", f.Name, step.Line, step.Input, out, step.Output)
		}
	}
	return nil
}

// runProgram starts the program, lets serve see to its calls, and waits for its end.
func (e env) runProgram(o execOptions, cmd *exec.Cmd, signals <-chan os.Signal, serve func(*interpose.Program) error) int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintf(e.stderr, "nlmmap: exec: %v\n", err)
		return exitExecFailed
	}
	p, err := interpose.Launch(self, cmd)
	if err == nil {
		err = serve(p)
	}
	if err != nil {
		fmt.Fprintf(e.stderr, "nlmmap: exec: %v\n", err)
		if p != nil {
			_ = p.Signal(syscall.SIGKILL)
		}
		return exitExecFailed
	}
	var timeout <-chan time.Time
	if o.timeout > 0 {
		timer := time.NewTimer(o.timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	timedOut := false
	for {
		select {
		case sig := <-signals:
			if (sig == syscall.SIGINT || sig == syscall.SIGQUIT) && e.terminal {
				continue // Ctrl-C: the terminal sends it to both
			}
			_ = p.Signal(sig)
		case <-timeout:
			timedOut = true
			fmt.Fprintf(e.stderr, "nlmmap: exec: %s still ran after %v: ended\n", filepath.Base(cmd.Path), o.timeout)
			_ = p.Signal(syscall.SIGKILL)
		case <-p.Done():
			state, err := p.Wait()
			switch {
			case timedOut:
				return exitTimeout
			case err != nil:
				fmt.Fprintf(e.stderr, "nlmmap: exec: %v\n", err)
				return exitExecFailed
			}
			if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
				return 128 + int(ws.Signal())
			}
			return state.ExitCode()
		}
	}
}
