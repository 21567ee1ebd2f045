package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"nlmmap/scenario"
	"nlmmap/trace"
	"nlmmap/versions"
)

func runCommand() command {
	return command{
		name:    "run",
		summary: "run a scenario and print it with what the model did",
		help: `Usage: nlmmap run [--kernel K] [--set NAME=VALUE ...] [--trace] FILE|-

Prints the scenario with the outputs of the model, and watches the invariants (docs/invariants.md): one that the
model breaks, by no known defect, is an error. The file needs no outputs; those it has are replaced.
A comment "# namespace: initial" above the first step makes it run in the initial network namespace, not in a fresh one.

Examples:
  nlmmap run testdata/kernels/4.4.1/tx_basic.txt
  nlmmap run --kernel 3.10.4 --trace my.txt
  nlmmap run --kernel 4.4.1 --set dump-reserve-in-frame=never my.txt
  printf 'socket a route\n\ngetsockname a\n' | nlmmap run -
`,
		run: runScenario,
	}
}

func runScenario(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	var k kernelFlag
	k.add(flags, versions.Default.String(), kernelUsage)
	traced := flags.Bool("trace", false, "print every event to standard error")
	rest, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	if len(rest) != 1 {
		return e.bad("run: expected one file (or - for standard input), got %d; see \"nlmmap run --help\"", len(rest))
	}
	version, err := e.version(k, versions.All())
	if err != nil {
		return e.bad("%v", err)
	}
	f, err := e.open(rest[0])
	if err != nil {
		return e.bad("%v", err)
	}
	if err := serial([]*scenario.File{f}, "a parallel block has no output but a set of outcomes: \"nlmmap explore\" prints it"); err != nil {
		return e.bad("%v", err)
	}
	cfg := config{version: version, watch: true, initNet: f.InitNet()}
	if *traced {
		cfg.listen = (&trace.Printer{W: e.stderr}).Record
	}
	if err := play(ctx, e, cfg, f); err != nil {
		fmt.Fprintf(e.stderr, "nlmmap: %s: %v\n", f.Name, err)
		return exitDisagree
	}
	return exitOK
}

// open parses a scenario file, or standard input for -.
func (e env) open(path string) (*scenario.File, error) {
	if path == "-" {
		return scenario.Parse("<stdin>", e.stdin)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return scenario.Parse(path, file)
}

// play runs the steps and prints each as soon as it is done, so that a failure shows how far it came.
func play(ctx context.Context, e env, cfg config, f *scenario.File) (err error) {
	target, err := e.machines.boot(cfg)
	if err != nil {
		return err
	}
	line := 0
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic at line %d: %v\n%s", line, p, debug.Stack())
		}
	}()
	runner := scenario.NewRunner(target)
	for i := range f.Steps {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted before line %d", f.Steps[i].Line)
		}
		step := f.Steps[i]
		line = step.Line
		step.Output = runner.Step(&step)
		step.Recorded = true
		if i > 0 {
			io.WriteString(e.stdout, "\n")
		}
		io.WriteString(e.stdout, step.String())
	}
	if len(f.Trailer) > 0 {
		fmt.Fprintf(e.stdout, "\n%s\n", strings.Join(f.Trailer, "\n"))
	}
	return target.Close()
}

func languageCommand() command {
	return command{
		name:    "language",
		summary: "print the directives of the scenario language",
		help:    "Usage: nlmmap language\n\nPrints every directive with its arguments and an example.\n",
		run: func(_ context.Context, e env, c command, args []string) int {
			rest, code, ok := c.parse(e, c.flags(), args)
			if !ok {
				return code
			}
			if len(rest) > 0 {
				return e.bad("language: takes no arguments")
			}
			if err := scenario.Help(e.stdout); err != nil {
				return e.bad("%v", err)
			}
			return exitOK
		},
	}
}

func (c command) flags() *flag.FlagSet {
	flags := flag.NewFlagSet("nlmmap "+c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	return flags
}
