package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode"

	"nlmmap/identify"
	"nlmmap/litmus"
	"nlmmap/scenario"

	"github.com/jstemmer/go-junit-report/v2/junit"
)

// junitUsage is the flag of the commands that compare.
const junitUsage = "write the result to this `FILE`, too, as JUnit XML: one test case for each scenario"

// writeJUnit stores test cases, if a file is named.
func (e env) writeJUnit(path string, suites ...junit.Testsuite) error {
	if path == "" {
		return nil
	}
	var all junit.Testsuites
	for i := range suites {
		suites[i].ID = i
		all.AddSuite(suites[i])
	}
	return e.writeTo(path, func(w io.Writer) error {
		if _, err := io.WriteString(w, xml.Header); err != nil {
			return err
		}
		return all.WriteXML(w)
	})
}

// newSuite returns an empty suite. There is no time in it, so that the same result gives the same file.
func newSuite(name string) junit.Testsuite { return junit.Testsuite{Name: "nlmmap " + name, Time: "0"} }

// passed, failed and skipped return test cases.
func passed(class, name string) junit.Testcase {
	return junit.Testcase{Classname: "nlmmap." + class, Name: name, Time: "0"}
}

func failed(class, name, message, text string) junit.Testcase {
	c := passed(class, name)
	c.Failure = &junit.Result{Message: printable(message), Type: "differs", Data: printable(text)}
	return c
}

func skipped(class, name, message string) junit.Testcase {
	c := passed(class, name)
	c.Skipped = &junit.Result{Message: message}
	return c
}

// printable replaces what XML cannot have.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, text)
}

// junit returns the scenarios and litmus sections that were verified.
func (r report) junit() []junit.Testsuite {
	var suites []junit.Testsuite
	for _, v := range r.Versions {
		suites = append(suites, v.junit())
	}
	for _, v := range r.Litmus {
		suites = append(suites, v.junit())
	}
	return suites
}

// A verified is what came of one scenario or section.
type verified[R any] struct {
	name   string
	result *R // nil if it was not run
}

func (v versionReport) junit() junit.Testsuite {
	suite := newSuite("verify " + v.Version)
	for _, c := range v.all {
		switch {
		case c.result == nil && !v.Built:
			suite.AddTestcase(skipped(v.Version, c.name, "the model has no such version"))
		case c.result == nil:
			suite.AddTestcase(skipped(v.Version, c.name, "not run"))
		case c.result.OK():
			suite.AddTestcase(passed(v.Version, c.name))
		default:
			suite.AddTestcase(failed(v.Version, c.name, messageOf(c.result), failureText(c.result, v.Why)))
		}
	}
	if v.Why != nil {
		suite.AddProperty("why", v.Why.String())
	}
	return suite
}

// messageOf is a failure in one line.
func messageOf(r *scenario.Result) string {
	if r.First == nil {
		line, _, _ := strings.Cut(r.Failure, "\n")
		return line
	}
	return fmt.Sprintf("line %d: %s: %d of %d steps agree", r.First.Line, r.First.Directive, r.Agreed, r.Steps)
}

func failureText(r *scenario.Result, why *whyReport) string {
	var b strings.Builder
	writeFailure(&b, r, why)
	return b.String()
}

func (v litmusReport) junit() junit.Testsuite {
	class := v.Version + " " + v.Memory
	suite := newSuite("verify litmus " + class)
	for _, c := range v.all {
		switch {
		case c.result == nil:
			suite.AddTestcase(skipped(class, c.name, "not searched"))
		case c.result.OK():
			suite.AddTestcase(passed(class, c.name))
		default:
			suite.AddTestcase(failed(class, c.name, "the outcomes are not those of the section", setFailureText(v, c.result)))
		}
	}
	return suite
}

func setFailureText(v litmusReport, r *litmus.Result) string {
	var b strings.Builder
	writeSetFailure(&b, v, r)
	return b.String()
}

// junit returns the scenarios in which two kernels were compared.
func (r diffReport) junit() junit.Testsuite {
	class := r.First + " and " + r.Second
	suite := newSuite("diff " + class)
	differ := map[string]fileDiff{}
	for _, f := range r.Differ {
		differ[f.File] = f
	}
	for _, name := range r.names {
		f, is := differ[name]
		if !is {
			suite.AddTestcase(passed(class, name))
			continue
		}
		var b strings.Builder
		for _, l := range f.Lines {
			l.write(&b, f.File)
		}
		suite.AddTestcase(failed(class, name, fmt.Sprintf("%d of %d steps differ", len(f.Lines), f.Steps), b.String()))
	}
	return suite
}

// identifySuite has a test case for each recording, which failed where something is left that no difference explains.
func identifySuite(r *identify.Result, names []string) junit.Testsuite {
	suite := newSuite("identify")
	suite.AddProperty("kernel", r.Kernel)
	left := map[string]*strings.Builder{}
	add := func(p identify.Place, text string) {
		if left[p.File] == nil {
			left[p.File] = &strings.Builder{}
		}
		fmt.Fprintf(left[p.File], "%v\n%s", p, text)
	}
	for _, l := range r.Left {
		d := scenario.Disagreement{Line: l.Line, Directive: l.Directive, Expected: l.Expected, Got: l.Got}
		add(l.Place, d.String())
		for _, p := range l.Also {
			add(p, fmt.Sprintf("like %v\n", l.Place))
		}
	}
	for _, name := range names {
		if b := left[name]; b != nil {
			suite.AddTestcase(failed(r.Kernel, name, "no named difference explains it", b.String()))
		} else {
			suite.AddTestcase(passed(r.Kernel, name))
		}
	}
	return suite
}
