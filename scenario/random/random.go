// Package random draws scenarios over the whole language: every directive, all socket families, rings, tasks and messages,
// mostly sensible, with a share of nonsense. They find where a model and a real kernel disagree.
//
//	text := random.Text(7, 132)
//	f, err := scenario.Parse(random.Name(7, 132), strings.NewReader(text))
//
// The same seed and number give the same text. Each scenario has preferences of its own: some directives are left out and
// some are frequent, so that many calls of one kind meet.
//
// # What is left out
//
// A scenario must do the same each time it runs. So none has what depends on chance or on what ran on that kernel before:
//
//   - the group of uevents, whose sequence numbers grow, that of the audit subsystem, and those of IPv6, whose addresses become
//     valid in their own time;
//   - what changes the whole machine: settings of the audit subsystem, more neighbours than the table of all namespaces has;
//   - answers of the audit subsystem, which a kernel thread sends, without time for it; never in a ring;
//   - a log that waits for its timer;
//   - statistics of several sockets, and several neighbours of which one is gone, whose order is that of a hash table;
//   - devices, neighbours and routes in the initial namespace, where those of scenarios before have had an effect;
//   - addresses that are shorter than their port id, for which kernels take what is on their stack;
//   - dumps of XFRM, which crash all kernels if there is no room for their first message;
//   - rings beside a tap, which crash Linux 3.19;
//   - packets with what only a driver can make (linear=, stamped, received): only the model has them.
package random

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Name is what a scenario is called.
func Name(seed, number uint64) string { return fmt.Sprintf("random-%d-%d.txt", seed, number) }

// Text draws a scenario.
func Text(seed, number uint64) string {
	m := maker{Rand: rand.New(rand.NewPCG(seed, number)), opened: map[string]int{}}
	main := &process{name: "main", alive: true}
	m.processes = []*process{main}
	m.self = main
	fmt.Fprintf(&m.out, "# nlmmap random --seed %d --from %d\n", seed, number)
	m.initial, m.single = m.one(12), m.one(3)
	if m.initial {
		m.out.WriteString("# namespace: initial\n")
	}
	m.prepare()
	m.prefer()
	for range 10 + m.IntN(40) {
		m.self = m.task()
		m.draw().make(&m)
	}
	return m.out.String()
}

// A maker has the scenario that it is making, and what there is in it by name.
type maker struct {
	*rand.Rand
	out       strings.Builder
	processes []*process
	self      *process       // whose step it is
	weights   []int          // of the kinds of steps, in this scenario
	seq       int            // of the last message
	named     int            // names so far
	opened    map[string]int // sockets of each protocol so far
	packets   int            // to queues so far, as far as one can know
	neighbors int
	initial   bool // runs in the initial network namespace
	single    bool // there is only one neighbour, which may go
	tap       bool // rings are left out
	taps      []string
}

// A process has names, like the tasks of the language. Threads are not told apart.
type process struct {
	name  string
	fds   []fd
	maps  []mapping
	alive bool
	job   string // that it waits in
}

// An fd is a descriptor: of a netlink socket, or of something else.
type fd struct {
	name string
	sock *socket
	unix bool
	ep   bool
}

// A socket is what is known of one.
type socket struct {
	protocol string
	portid   int
	rx, tx   ring
}

// A ring is a request for one.
type ring struct{ blockSize, blockNr, frameSize, frameNr int }

type mapping struct {
	name   string
	sock   *socket
	rx, tx ring // as they were then
}

// one reports true once in n times.
func (m *maker) one(n int) bool { return m.IntN(n) == 0 }

// pick returns one of the values.
func pick[T any](m *maker, values ...T) T { return values[m.IntN(len(values))] }

// name makes a new name.
func (m *maker) name(prefix string) string {
	m.named++
	return fmt.Sprintf("%s%d", prefix, m.named)
}

// step writes a directive with its message lines.
func (m *maker) step(format string, a ...any) {
	line := fmt.Sprintf(format, a...)
	if m.self.name != "main" {
		directive, rest, _ := strings.Cut(line, "\n")
		line = directive + " in=" + m.self.name
		if rest != "" {
			line += "\n" + rest
		}
	}
	m.out.WriteString("\n" + line + "\n")
}

// task is whose step is next: mostly main's.
func (m *maker) task() *process {
	if m.one(5) {
		if p := pick(m, m.processes...); p.alive && p.job == "" {
			return p
		}
	}
	return m.processes[0]
}

// prefer gives the kinds of steps the weights that they have in this scenario.
func (m *maker) prefer() {
	for _, s := range steps {
		w := s.weight * 4
		switch m.IntN(6) {
		case 0:
			w = 0
		case 1:
			w *= 5
		case 2:
			w /= 4
		}
		m.weights = append(m.weights, w)
	}
}

// draw returns a kind of step that can be made now.
func (m *maker) draw() step {
	sum := 0
	for i, s := range steps {
		if s.can(m) {
			sum += m.weights[i]
		}
	}
	if sum == 0 {
		return step{make: (*maker).open}
	}
	at := m.IntN(sum)
	for i, s := range steps {
		if !s.can(m) {
			continue
		}
		if at -= m.weights[i]; at < 0 {
			return s
		}
	}
	panic("random: the weights do not sum up")
}

// prepare makes a scenario that has something to work with: sockets, most of them bound, many with rings.
func (m *maker) prepare() {
	m.tap = m.one(15) && !m.initial
	for range 1 + m.IntN(3) {
		m.open()
		s := m.self.fds[len(m.self.fds)-1]
		if !m.one(6) {
			m.bind(s)
		}
		if m.one(3) {
			m.bindQueue(s)
		}
		if m.tap || m.one(3) {
			continue
		}
		if !m.one(4) {
			m.setRing(s, "rx")
		}
		if m.one(3) {
			m.setRing(s, "tx")
		}
		if s.sock.rx.frameNr+s.sock.tx.frameNr > 0 {
			m.mmap(s)
		}
	}
}
