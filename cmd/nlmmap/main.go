// Command nlmmap runs scenarios on the simulated kernels and compares them with recordings of real ones.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"nlmmap/guest"
	"nlmmap/interpose"
	"nlmmap/scenario"
	"nlmmap/scenario/boot"
)

// Exit codes. docs/ci.md promises them.
const (
	exitOK          = 0
	exitDisagree    = 1 // something is not as recorded, or the model failed
	exitBadInput    = 2 // nothing to do with the model: arguments, files, QEMU
	exitInterrupted = 3 // by a signal, and nothing had disagreed until then
)

// An env is what a command reads and writes.
type env struct {
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
	terminal bool // stderr is one
	machines machines
}

// A command is a subcommand.
type command struct {
	name    string
	summary string
	help    string // arguments, what it does, examples
	run     func(ctx context.Context, e env, c command, args []string) int
}

func commands() []command {
	return []command{
		runCommand(), verifyCommand(), versionsCommand(), defectsCommand(), diffCommand(), recordCommand(),
		exploreCommand(), identifyCommand(), execCommand(), languageCommand(), randomCommand(), benchCommand(),
	}
}

func main() {
	if guest.IsGuest() {
		guest.Main(boot.Serve)
		return
	}
	if interpose.IsStub() {
		interpose.Stub()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	e := env{os.Stdin, os.Stdout, os.Stderr, isTerminal(os.Stderr), simulator()}
	code := dispatch(ctx, e, os.Args[1:])
	stop()
	os.Exit(code)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func dispatch(ctx context.Context, e env, args []string) int {
	if len(args) == 0 {
		usage(e.stderr)
		return exitBadInput
	}
	if name := args[0]; name == "help" || name == "-h" || name == "-help" || name == "--help" {
		if len(args) == 1 {
			usage(e.stdout)
			return exitOK
		}
		args = []string{args[1], "--help"}
	}
	var names []string
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, e, c, args[1:])
		}
		names = append(names, c.name)
	}
	fmt.Fprintf(e.stderr, "nlmmap: unknown command %q", args[0])
	if near := scenario.Nearest(args[0], names); near != "" {
		fmt.Fprintf(e.stderr, ": did you mean %q?", near)
	}
	fmt.Fprintf(e.stderr, "\nRun \"nlmmap help\" for the commands.\n")
	return exitBadInput
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "nlmmap simulates Linux memory-mapped netlink.\n\nUsage: nlmmap COMMAND [ARGUMENTS]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nRun \"nlmmap COMMAND --help\" for one of them.\n")
	fmt.Fprintf(w, "Exit codes: 0 ok, 1 disagreement or failure of the model, 2 bad input, 3 interrupted.\n")
}

// parse reads flags, which may also stand after other arguments, and returns the others. If it returns false the
// command ends with the code.
func (c command) parse(e env, flags *flag.FlagSet, args []string) (rest []string, code int, ok bool) {
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			c.printHelp(e.stdout, flags)
			return nil, exitOK, false
		}
		if err != nil {
			return nil, e.bad("%s: %v; see \"nlmmap %s --help\"", c.name, err, c.name), false
		}
		if flags.NArg() == 0 {
			return rest, exitOK, true
		}
		done := len(args) - flags.NArg()
		if done > 0 && args[done-1] == "--" {
			return append(rest, flags.Args()...), exitOK, true
		}
		rest = append(rest, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

func (c command) printHelp(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprintf(w, "nlmmap %s: %s\n\n%s", c.name, c.summary, c.help)
	header := "\nFlags:\n"
	flags.VisitAll(func(*flag.Flag) {
		io.WriteString(w, header)
		header = ""
	})
	flags.SetOutput(w)
	flags.PrintDefaults()
}

// bad reports bad input and returns its exit code.
func (e env) bad(format string, a ...any) int {
	fmt.Fprintf(e.stderr, "nlmmap: "+format+"\n", a...)
	return exitBadInput
}
