package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"nlmmap/versions"
)

func versionsCommand() command {
	return command{
		name:    "versions",
		summary: "list the named differences of the kernels, explain one, or compose a kernel",
		help: `Usage: nlmmap versions [-json | -markdown]
       nlmmap versions [-json] NAME
       nlmmap versions [--kernel K] [--set NAME=VALUE ...] [--name NAME] [--save FILE]

Without arguments it prints which kernel has which named difference. With a NAME it explains that difference.

With --kernel or --set it describes the kernel composed out of a release (or another composed kernel) and single
differences, say a vendor's release with backports, and --save keeps it in a file. A switch is on or off, other
differences have named values, or any number of a range: "nlmmap versions NAME" says which. Every --kernel flag takes
such a file; an extension ` + versions.Extension + ` may be left out. The file is text:

  name vendor-4.4
  kernel 4.4.1
  set dump-reserve-in-frame=never
  set poll-scans-ring=off

Examples:
  nlmmap versions poll-scans-ring
  nlmmap versions --kernel 4.4.1 --set dump-reserve-in-frame=never --name vendor-4.4 --save vendor.kernel
  nlmmap run --kernel vendor my.txt
`,
		run: runVersions,
	}
}

func runVersions(_ context.Context, e env, c command, args []string) int {
	flags := c.flags()
	asJSON := flags.Bool("json", false, "print as JSON")
	markdown := flags.Bool("markdown", false, "print docs/versions.md")
	out := flags.String("o", "", "with -markdown: write to this `FILE`")
	name := flags.String("name", "", "what to call the composed kernel")
	save := flags.String("save", "", "store the composed kernel in this `FILE`")
	var k kernelFlag
	k.add(flags, "", kernelUsage)
	rest, code, ok := c.parse(e, flags, args)
	if !ok {
		return code
	}
	table := versions.All()
	composes := k.name != "" || len(k.sets) > 0
	var err error
	switch {
	case len(rest) > 1 || len(rest) == 1 && composes:
		return e.bad("versions: expected one name, or --kernel and --set; see \"nlmmap versions --help\"")
	case (*save != "" || *name != "") && !composes:
		return e.bad("versions: --save and --name need --kernel or --set: which kernel is it?")
	case len(rest) == 1:
		err = e.explain(table, rest[0], *asJSON)
	case composes:
		err = e.compose(table, k, *name, *save)
	case *asJSON:
		err = writeJSON(e.stdout, table.Rows())
	case *markdown:
		err = e.writeTo(*out, table.Markdown)
	default:
		err = table.WriteMatrix(e.stdout)
	}
	if err != nil {
		return e.bad("%v", err)
	}
	return exitOK
}

func (e env) explain(t versions.Table, name string, asJSON bool) error {
	d, err := t.Find(name)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(e.stdout, versions.NewRow(d))
	}
	return versions.Explain(e.stdout, d)
}

// compose prints or stores the kernel that the flags describe.
func (e env) compose(t versions.Table, k kernelFlag, name, path string) error {
	if k.name == "" {
		k.name = versions.Default.String()
	}
	v, err := e.version(k, t)
	if err != nil {
		return err
	}
	if len(k.sets) > 0 {
		v.Name = "" // that of the kernel it is based on
	}
	if name != "" {
		v.Name = name
	}
	return e.writeTo(path, func(w io.Writer) error { return versions.Write(w, v) })
}

// writeTo writes to a new file, or to standard output if the path is empty.
func (e env) writeTo(path string, write func(io.Writer) error) (err error) {
	if path == "" {
		return write(e.stdout)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = fmt.Errorf("%s: %w", path, e)
		}
	}()
	return write(f)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
