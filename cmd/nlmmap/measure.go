package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync/atomic"

	"nlmmap/measure"
	"nlmmap/versions"
)

func benchCommand() command {
	return command{
		name:    "bench",
		summary: "measure the model at full speed, beside the live kernel and bare Go",
		help: `Usage: nlmmap bench [--quick] [-json | --benchstat] [--compare FILE] [--only REGEXP] [--kernel K]

Takes the times of the same operations in turns, and prints a table: acknowledgements, messages, verdicts on packets and
dumps of routes, of several sizes; on the model through the ring and by recvmsg, on the kernel underneath where it can do the
same (as root, in a network namespace of its own), and as bare Go that does nothing but the ring's protocol. Below it are
ratios, each with what it should be at most. docs/performance.md says what limits each row.

A run takes about two minutes, with --quick less than 40 seconds. Results are medians, with the spread of the rounds. A
machine that does something else meanwhile makes them worse, and what is compared within one run less than what is not.

-json prints a report for programs, which --compare FILE takes to show what has changed since. --benchstat prints each round
as a line of Go's benchmark format, for golang.org/x/perf/cmd/benchstat. --only takes a regular expression for the names
that --benchstat prints.

Examples:
  nlmmap bench --quick
  nlmmap bench -json > before.json
  nlmmap bench --compare before.json
  nlmmap bench --only 'Ack|size=64$' --benchstat > new.txt && benchstat old.txt new.txt
`,
		run: runBench,
	}
}

func runBench(ctx context.Context, e env, c command, args []string) int {
	flags := c.flags()
	quick := flags.Bool("quick", false, "fewer and shorter rounds, and dumps of 10,000 routes instead of 100,000: less than 40 seconds")
	asJSON := flags.Bool("json", false, "print the report as JSON")
	benchstat := flags.Bool("benchstat", false, "print what benchstat reads")
	compare := flags.String("compare", "", "show what has changed since the report in this `FILE`")
	only := flags.String("only", "", "only what this regular `expression` finds in a name")
	noLive := flags.Bool("no-live", false, "leave the kernel underneath alone")
	var k kernelFlag
	k.add(flags, "4.4.1", kernelUsage)
	rest, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	v, err := e.version(k, versions.All())
	switch {
	case len(rest) > 0:
		return e.bad("bench: unexpected %q; see \"nlmmap bench --help\"", rest[0])
	case *asJSON && *benchstat:
		return e.bad("bench: -json and --benchstat are two formats of the same: give one of them")
	case err != nil:
		return e.bad("%v", err)
	}
	cfg := measure.Config{Version: v, Effort: measure.Thorough, Live: !*noLive}
	if *quick {
		cfg.Effort, cfg.Routes = measure.Quick, 10_000
	}
	if *only != "" {
		re, err := regexp.Compile(*only)
		if err != nil {
			return e.bad("bench --only: %v", err)
		}
		cfg.Only = re.MatchString
	}
	var before *measure.Report
	if *compare != "" {
		if before, err = measure.Load(*compare); err != nil {
			return e.bad("bench --compare: %v", err)
		}
	}
	done := new(atomic.Int64)
	cfg.Tell = func(n, _ int) { done.Store(int64(n)) }
	stop := e.showProgress(done, cfg.Effort.Rounds, "rounds")
	r, err := measure.Suite(ctx, cfg)
	stop()
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, measure.ErrNothing):
		return e.bad("bench --only %s: %v", *only, err)
	case err != nil:
		fmt.Fprintf(e.stderr, "nlmmap: bench: %v\n", err)
		return exitDisagree
	}
	if err := writeBench(e.stdout, r, before, *asJSON, *benchstat); err != nil {
		return e.bad("bench: %v", err)
	}
	return exitOK
}

// writeBench prints a report, or what has changed since another.
func writeBench(w io.Writer, r, before *measure.Report, asJSON, benchstat bool) error {
	switch {
	case benchstat:
		return r.Benchstat(w)
	case before != nil:
		changes := r.Compare(before)
		if len(changes) == 0 {
			return errors.New("the two reports have no row in common")
		}
		if asJSON {
			return writeJSON(w, changes)
		}
		return measure.WriteChanges(w, changes)
	case asJSON:
		return writeJSON(w, r)
	}
	return r.Table(w)
}
