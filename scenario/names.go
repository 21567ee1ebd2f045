package scenario

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// makes says which positional arguments of a directive are names that it makes, whether the call succeeds or not. All
// other names must exist.
var makes = map[string][]int{
	"socket": {0}, "dup": {1}, "sockpair": {0, 1}, "takefd": {1}, "epoll": {0},
	"mmap": {1}, "tap": {0}, "fork": {0}, "thread": {0},
}

// A nameSpace is where a name is looked for.
type nameSpace string

const (
	ofFDs      nameSpace = "fd"
	ofMappings nameSpace = "mapping"
	ofTaps     nameSpace = "tap"
	ofTasks    nameSpace = "task"
	ofJobs     nameSpace = "job"
)

// spaces says what each kind of argument names.
var spaces = map[string]nameSpace{
	"FD": ofFDs, "NEW": ofFDs, "EP": ofFDs, "A": ofFDs, "B": ofFDs,
	"MAP": ofMappings, "T": ofTaps, "CHILD": ofTasks, "NAME": ofTasks, "TASK": ofTasks, "JOB": ofJobs,
}

// known are the names of a process at some point of a file.
type known struct{ fds, maps map[string]bool }

func (k *known) clone() *known { return &known{maps.Clone(k.fds), maps.Clone(k.maps)} }

// CheckNames checks that every name in the file is made by an earlier step, so that a step cannot fail only because of a
// slip. A name that an earlier step tried to make and could not counts: that depends on the machine. The error is of
// type *Error.
func (f *File) CheckNames() error {
	first := &known{map[string]bool{}, map[string]bool{}}
	processes := map[string]*known{mainTask: first}
	taps, jobs := map[string]bool{}, map[string]bool{}
	waits := map[string]string{} // tasks that do, and in which job
	for i := range f.Steps {
		s := &f.Steps[i]
		name := s.args.text("in", mainTask)
		p := processes[name]
		if p == nil {
			return f.noName(s, ofTasks, name, slices.Sorted(maps.Keys(processes)))
		}
		tables := map[nameSpace]map[string]bool{ofFDs: p.fds, ofMappings: p.maps, ofTaps: taps, ofJobs: jobs}
		for _, task := range slices.Sorted(maps.Keys(waits)) {
			job := waits[task]
			if task == name || s.form.name() == "exit" && processes[task] == p {
				return &Error{f.Name, s.Line, fmt.Sprintf("%s waits in %s until \"join %s\"", task, job, job)}
			}
		}
		for _, u := range s.uses() {
			table := tables[u.space]
			if table[u.name] || s.form.name() == "takefd" && first.fds[u.name] { // main may have sent it
				continue
			}
			return f.noName(s, u.space, u.name, slices.Sorted(maps.Keys(table)))
		}
		for _, at := range makes[s.form.name()] {
			made, space := s.args.word(at), spaces[s.form.syntax.positional[at]]
			switch {
			case space != ofTasks:
				tables[space][made] = true
			case s.form.name() == "fork":
				processes[made] = p.clone()
			default:
				processes[made] = p
			}
		}
		switch {
		case s.later != "" && jobs[s.later]:
			return &Error{f.Name, s.Line, fmt.Sprintf("%s is there already: join it first, or choose another name", s.later)}
		case s.later != "":
			jobs[s.later], waits[name] = true, s.later
		case s.form.name() == "join":
			delete(jobs, s.args.word(0))
			maps.DeleteFunc(waits, func(_, job string) bool { return job == s.args.word(0) })
		}
		switch s.form.name() {
		case "close":
			delete(p.fds, s.args.word(0))
		case "exit":
			maps.DeleteFunc(processes, func(_ string, q *known) bool { return q == p })
		}
	}
	return nil
}

// A use is a name that a step needs.
type use struct {
	space nameSpace
	name  string
}

// uses lists the names that a step needs, in the order of its usage line.
func (s *Step) uses() []use {
	var all []use
	for i, kind := range s.form.syntax.positional {
		if space := spaces[kind]; space != "" && !slices.Contains(makes[s.form.name()], i) {
			all = append(all, use{space, s.args.word(i)})
		}
	}
	for _, word := range strings.Fields(s.form.syntax.usage) {
		key, kind, named := strings.Cut(strings.Trim(word, "[]"), "=")
		if space := spaces[kind]; named && space != "" && s.args.has(key) {
			all = append(all, use{space, s.args.text(key, "")})
		}
	}
	return all
}

func (f *File) noName(s *Step, space nameSpace, name string, have []string) error {
	return &Error{f.Name, s.Line, fmt.Sprintf("no %s %s here: no earlier step makes it%s", space, name, suggest(name, have))}
}

var numeral = regexp.MustCompile(`\b(0x[0-9a-fA-F]+|\d+)\b`)

// Numbers are those that stand in the file's directives and messages. A process id that is one of them could be taken for
// it.
func (f *File) Numbers() map[int]bool {
	all := map[int]bool{}
	steps := slices.Concat(f.Steps, f.Final)
	if f.Block != nil {
		for _, t := range f.Block.Threads {
			steps = append(steps, t.Steps...)
		}
	}
	for i := range steps {
		for _, line := range append([]string{steps[i].Directive}, steps[i].Input...) {
			for _, text := range numeral.FindAllString(line, -1) {
				if n, err := strconv.ParseInt(text, 0, 64); err == nil {
					all[int(n)] = true
				}
			}
		}
	}
	return all
}
