package scenario

import (
	"fmt"
	"strconv"
	"strings"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// mainTask is the name of the task that exists from the start.
const mainTask = "main"

// A Runner executes the steps of one scenario on one target. It keeps what the language calls by name; everything
// else is the target's.
type Runner struct {
	target Target
	tasks  map[string]*task
	taps   map[string]Tap
	main   *process
	shown  map[*socket]snapshot
	print  printer
	jobs   []*backgroundStep // that were not joined, in the order in which they began
}

// A task is a sys.Task with the names it uses. Threads of one process share them.
type task struct {
	sys.Task
	name string
	*process
}

// A process has the name tables of a descriptor table and an address space.
type process struct {
	fds  map[string]descriptor
	maps map[string]*mapping
	live []*mapping // oldest first; also those whose name was used again
}

type descriptor struct {
	fd   int
	sock *socket // nil when it is none
}

// A socket is what all descriptors of one netlink socket share.
type socket struct {
	protocol int
	rings    ringPair
}

// NewRunner returns a runner for one scenario on a fresh target.
func NewRunner(target Target) *Runner {
	r := &Runner{
		target: target,
		tasks:  map[string]*task{},
		taps:   map[string]Tap{},
		main:   &process{fds: map[string]descriptor{}, maps: map[string]*mapping{}},
		shown:  map[*socket]snapshot{},
		print:  printer{processes: map[uint32]string{}},
	}
	r.addTask(mainTask, target.Main(), r.main)
	return r
}

// Run executes a whole scenario and returns the output of each step.
func Run(target Target, f *File) []string {
	r := NewRunner(target)
	outputs := make([]string, len(f.Steps))
	for i := range f.Steps {
		outputs[i] = r.Step(&f.Steps[i])
	}
	return outputs
}

// Step executes one step of a parsed file and returns its output: the result, then what changed in the rings.
func (r *Runner) Step(s *Step) string {
	var out strings.Builder
	if text := r.result(s); text != "" {
		out.WriteString(text + "\n")
	}
	for _, j := range r.jobs {
		j.job.Settle()
	}
	for _, line := range r.changes() {
		if !s.form.quiet {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

func (r *Runner) result(s *Step) string {
	name := s.args.text("in", mainTask)
	t, ok := r.tasks[name]
	if !ok {
		return noSuch("task", name).Error()
	}
	if busy := r.busy(s, t); busy != "" {
		return fmt.Sprintf("%s waits in %s", name, busy)
	}
	if s.later != "" {
		return r.begin(s, t)
	}
	return r.resultOf(s, t)
}

// resultOf executes a step's directive on a task.
func (r *Runner) resultOf(s *Step, t *task) string {
	text, err := s.form.run(&call{Runner: r, task: t, args: s.args, msgs: s.msgs})
	if err != nil {
		return strings.TrimPrefix(text+"\n"+errorText(err), "\n")
	}
	return text
}

// A call is one step that is being executed.
type call struct {
	*Runner
	task *task
	args args
	msgs []byte
}

// ok is the result of calls that return nothing.
func ok(err error) (string, error) {
	if err != nil {
		return "", err
	}
	return "ok", nil
}

// number is the result of calls that return a number.
func number(n int, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return strconv.Itoa(n), nil
}

// noSuch is the error for a name that does not exist.
func noSuch(what, name string) error { return fmt.Errorf("no such %s %s", what, name) }

func (r *Runner) addTask(name string, t sys.Task, p *process) {
	r.tasks[name] = &task{t, name, p}
	pid := uint32(t.Tgid())
	if _, known := r.print.processes[pid]; !known { // a thread has the id of its process
		r.print.processes[pid] = name
	}
}

// clone copies the name tables, as fork copies what they name.
func (p *process) clone() *process {
	c := &process{fds: map[string]descriptor{}, maps: map[string]*mapping{}}
	for name, d := range p.fds {
		c.fds[name] = d
	}
	for _, m := range p.live {
		copied := *m
		c.live = append(c.live, &copied)
		if p.maps[m.name] == m {
			c.maps[m.name] = &copied
		}
	}
	return c
}

// fd looks a descriptor up.
func (t *task) fd(name string) (descriptor, error) {
	if d, ok := t.fds[name]; ok {
		return d, nil
	}
	return descriptor{}, noSuch("fd", name)
}

// netlink looks a descriptor of a netlink socket up; others count as a socket without a protocol and without rings.
func (t *task) netlink(name string) (int, *socket, error) {
	d, err := t.fd(name)
	if err != nil {
		return 0, nil, err
	}
	if d.sock == nil {
		return d.fd, &socket{protocol: -1}, nil
	}
	return d.fd, d.sock, nil
}

// address builds the socket address that the arguments of bind, connect and send describe.
func (a args) address() []byte {
	addr := uapi.SockaddrNL{
		Family: uint16(a.get("family", uapi.AFNetlink)),
		Pid:    uint32(a.get("portid", 0)),
		Groups: uint32(a.get("groups", 0)),
	}
	// All lengths that no address has, negative ones too, are refused alike.
	const longest = 128
	n := int32(a.get("addrlen", uapi.SockaddrNLlen))
	if n < 0 || n > longest {
		n = longest + 1
	}
	return resized(addr.Bytes(), int(n))
}

// resized returns n bytes that begin with b: cut short, or with zeros after it.
func resized(b []byte, n int) []byte {
	s := make([]byte, n)
	copy(s, b)
	return s
}
