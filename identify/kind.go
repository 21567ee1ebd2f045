package identify

import (
	"regexp"
	"strconv"
	"strings"

	"nlmmap/scenario"
)

var digits = regexp.MustCompile(`\d+`)

// at is the output of a step, or what stands for one that did not come.
func (o outcome) at(i int) string {
	switch {
	case i < len(o.outputs):
		return o.outputs[i]
	case o.failure != "":
		return o.failure + "\n"
	}
	return scenario.NotRun + "\n"
}

// step is the disagreement of a step with a model.
func (s *search) step(o outcome, scenarioNumber, i int) scenario.Disagreement {
	f := s.files[scenarioNumber]
	if i >= len(f.Steps) { // at the end
		return scenario.Disagreement{Directive: "at the end", Got: o.failure + "\n"}
	}
	return scenario.Disagreement{Line: f.Steps[i].Line, Directive: f.Steps[i].Directive,
		Expected: f.Steps[i].Output, Got: o.at(i)}
}

// place is where a step is.
func (s *search) place(o outcome, scenarioNumber, i int) Place {
	d := s.step(o, scenarioNumber, i)
	return Place{s.files[scenarioNumber].Name, d.Line, d.Directive}
}

// kind is the same of steps that disagree alike: the directive, and the lines that differ without their numbers.
func (s *search) kind(o outcome, i, n int) string {
	d := s.step(o, i, n)
	word, _, _ := strings.Cut(d.Directive, " ")
	var b strings.Builder
	b.WriteString(word)
	for line := range strings.Lines(strings.TrimPrefix(d.String(), d.Directive)) {
		if !strings.HasPrefix(line, "  ") {
			b.WriteString(digits.ReplaceAllString(line, "#"))
		}
	}
	return b.String()
}

// numbersIn lists the numbers in a text.
func numbersIn(text string) []int {
	var list []int
	for _, word := range digits.FindAllString(text, -1) {
		if n, err := strconv.Atoi(word); err == nil {
			list = append(list, n)
		}
	}
	return list
}
