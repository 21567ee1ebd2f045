package explore

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/memmodel"
	"nlmmap/kernel/sched"
	"nlmmap/uapi"
)

// A row is one step of a run in the table of a failure.
type row struct {
	step   int
	thread int // whose column it stands in
	op     sched.Op
	text   string
	ring   string // whose ring memory it touches
	value  string // that a program loaded or stored there
	call   string // the system call that it belongs to
	notes  []string
	frames string
	shown  bool
	chosen bool   // a switch leads here
	races  string // letters of the pairs of steps that nothing orders
}

// rows replays the failure and writes down every step.
func (f *Failure) rows() (threads []string, rows []row, err error) {
	races := &sched.Races{Most: longest}
	ob := &observer{calls: map[int]string{}, owners: map[sched.Obj]string{}, rings: map[sched.Obj]ringName{}}
	o := f.Options.asGiven()
	o.Without = f.LeftOut
	w, err := once(f.Program, o, &sched.Replay{Switches: f.Switches}, nil, func(w *World, s sched.Scheduler) sched.Scheduler {
		races.Scheduler = s
		ob.Scheduler, ob.w = races, w
		w.watch.log = ob.event
		return ob
	})
	if err != nil {
		return nil, nil, err
	}
	ob.flush()
	// What an agent does stands in the column of its owner.
	column := map[int]int{}
	for _, t := range w.run.Threads() {
		if t.Owner() == nil {
			column[t.ID] = len(threads)
			threads = append(threads, fmt.Sprintf("%s (%d)", t.Name, t.ID))
		} else {
			column[t.ID] = column[t.Owner().ID]
		}
	}
	ob.name()
	mark(ob.rows, append(races.Pairs(), ob.stale...))
	for i := range ob.rows {
		r := &ob.rows[i]
		r.thread = column[r.thread]
		r.chosen = slices.ContainsFunc(f.Switches, func(s sched.Switch) bool {
			return s.Step >= r.step && (i+1 == len(ob.rows) || s.Step < ob.rows[i+1].step)
		})
		r.shown = r.isShown() || i == 0 || i == len(ob.rows)-1
	}
	return threads, ob.rows, nil
}

// longest is the longest run whose races are looked for: in a livelock there is nothing to be seen of them.
const longest = 4000

// mark gives the rows of the last pairs of steps that race a letter each.
func mark(rows []row, pairs [][2]int) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	for i, pair := range pairs[max(0, len(pairs)-len(letters)):] {
		for j := range rows {
			if r := &rows[j]; r.step == pair[0] || r.step == pair[1] {
				r.races += letters[i : i+1]
			}
		}
	}
}

// isShown reports whether a row is not folded away: calls, messages, ring memory, sleeps, switches and what races.
func (r *row) isShown() bool {
	switch r.op.Kind {
	case sched.Start, sched.Enter, sched.Exit, sched.Wait:
		return true
	}
	return r.ring != "" || r.frames != "" || r.races != "" || r.chosen || len(r.notes) > 0
}

// An observer writes down what the scheduler chose and what happened then.
type observer struct {
	sched.Scheduler
	w      *World
	rows   []row
	states string
	stale  [][2]int             // loads that saw an old value, each behind the store of the new one
	ahead  int                  // reads that have found what comes later
	calls  map[int]string       // by thread: the system call that it is in
	socks  []*afnetlink.Sock    // that were made
	owners map[sched.Obj]string // of cells
	rings  map[sched.Obj]ringName
}

// ringName names ring memory: the socket that has it and the ring.
type ringName struct{ owner, ring string }

// flush completes the last row.
func (ob *observer) flush() {
	if len(ob.rows) == 0 {
		return
	}
	last := &ob.rows[len(ob.rows)-1]
	if n := ob.w.foresight.Delayed(); n > ob.ahead {
		ob.ahead = n
		last.isLater()
		if n := len(ob.stale); n > 0 && ob.stale[n-1][1] == last.step {
			ob.stale = ob.stale[:n-1]
		}
	}
	if s := ob.w.watch.states(); s != ob.states {
		last.frames = s
		ob.states = s
	}
}

// isLater says of a read that the value it has picked is no old one.
func (r *row) isLater() {
	for i, note := range r.notes {
		if strings.HasPrefix(note, seesOld) {
			r.notes[i] = "happens later, and sees what is stored by then"
		}
	}
}

const seesOld = "sees an old value"

// Next implements sched.Scheduler.
func (ob *observer) Next(r *sched.Run, cur *sched.Thread, enabled []*sched.Thread) *sched.Thread {
	ob.flush()
	t := ob.Scheduler.Next(r, cur, enabled)
	if t == nil {
		return nil
	}
	now := row{step: r.Steps(), thread: t.ID, op: t.Op}
	ob.describe(&now, t)
	who := t.ID
	if t.IsAgent() {
		who = t.Owner().ID
	}
	if t.Op.Kind == sched.Enter {
		ob.calls[who] = t.Op.Label
	}
	now.call = ob.calls[who]
	if t.Op.Kind == sched.Exit {
		delete(ob.calls, who)
	}
	ob.rows = append(ob.rows, now)
	return t
}

// Choose implements sched.Scheduler.
func (ob *observer) Choose(r *sched.Run, t *sched.Thread, n int) int {
	pick := ob.Scheduler.Choose(r, t, n)
	if pick > 0 && r.Mishap() == sched.NoMishap { // of the others the kernel tells
		ob.note(fmt.Sprintf(seesOld+" (%d of %d)", pick, n-1))
		load := ob.rows[len(ob.rows)-1]
		for i := len(ob.rows) - 1; i >= 0; i-- {
			if store := ob.rows[i]; store.op.Kind == sched.Drain && store.op.Dependent(load.op) {
				ob.stale = append(ob.stale, [2]int{store.step, load.step})
				break
			}
		}
	}
	return pick
}

// describe says what a step does, as far as that is known before the run is over.
func (ob *observer) describe(now *row, t *sched.Thread) {
	op := t.Op
	now.text = op.String()
	switch place, name := ob.w.watch.place(op); {
	case place != "":
		ob.rings[op.Obj] = name
		now.text, now.ring = op.Kind.String()+" "+place, name.owner
	case op.Obj != 0 && op.Label == "":
		if name, ok := ob.rings[op.Obj]; ok { // all of it is freed, or a part that was freed before
			now.ring = name.owner
			if now.text = "free " + name.ring; op.Len != 0 {
				now.text = fmt.Sprintf("%v freed %s +%d", op.Kind, name.ring, op.Off)
			}
		} else if op.Len != 0 {
			now.ring, now.text = "?", fmt.Sprintf("%v freed ring +%d", op.Kind, op.Off)
		}
	case op.Kind == sched.Exit && op.Label == "rest":
		now.text = "ends"
	case op.Obj != 0 && op.Label != "":
		ob.own(op.Obj)
	}
	if t.IsAgent() {
		now.text = fmt.Sprintf("~%d %s", t.ID, strings.TrimPrefix(now.text, "drain "))
		ob.buffered(op.After-1, strings.TrimPrefix(now.text, "~"))
	}
}

// buffered notes at the step that made a store that it went to the task's store buffer.
func (ob *observer) buffered(step int, what string) {
	for i := len(ob.rows) - 1; i >= 0; i-- {
		if r := &ob.rows[i]; r.step <= step {
			const buffers = "buffers "
			if n := len(r.notes); n > 0 && strings.HasPrefix(r.notes[n-1], buffers) {
				r.notes[n-1] += ", ~" + what
			} else {
				r.notes = append(r.notes, buffers+"~"+what)
			}
			return
		}
	}
}

// own finds out whose a cell is: of a socket or a task. Cells get their identity when they are first touched.
func (ob *observer) own(o sched.Obj) {
	if _, ok := ob.owners[o]; ok {
		return
	}
	ob.owners[o] = ""
	for _, sk := range ob.socks {
		ob.objects(reflect.ValueOf(sk).Elem(), fmt.Sprintf("portid %v", sk.Inspect(inspect.Key{}).Portid))
	}
	for _, t := range slices.Concat(ob.w.tasks, ob.w.k.Tasks()) {
		ob.objects(reflect.ValueOf(t).Elem(), t.Name)
	}
}

// objects notes the owner of all identities in a struct, and in the structs, arrays and tables that it has.
func (ob *observer) objects(v reflect.Value, owner string) {
	switch {
	case v.Type() == reflect.TypeFor[sched.Obj]():
		if o := sched.Obj(v.Uint()); o != 0 {
			ob.owners[o] = owner
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			ob.objects(v.Field(i), owner)
		}
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			ob.objects(v.Index(i), owner)
		}
	case v.Kind() == reflect.Map && v.Type().Elem() == reflect.TypeFor[sched.Obj]():
		for it := v.MapRange(); it.Next(); {
			ob.objects(it.Value(), owner)
		}
	}
}

// name completes the texts of the rows: whose each cell is. Those of nobody are numbered where there are several of a
// name. Of ring memory it is said only where several sockets have rings.
func (ob *observer) name() {
	numbers := map[string][]sched.Obj{} // by label: the cells of nobody
	sockets := map[string]bool{}
	for _, r := range ob.rows {
		if r.ring != "" {
			sockets[r.ring] = true
		} else if r.op.Label != "" && r.op.Obj != 0 && ob.owners[r.op.Obj] == "" && !slices.Contains(numbers[r.op.Label], r.op.Obj) {
			numbers[r.op.Label] = append(numbers[r.op.Label], r.op.Obj)
		}
	}
	for i := range ob.rows {
		r := &ob.rows[i]
		list := numbers[r.op.Label]
		switch {
		case r.ring != "" && len(sockets) > 1:
			r.text += " of " + r.ring
		case r.ring != "" || r.op.Kind == sched.Enter || r.op.Kind == sched.Exit:
		case ob.owners[r.op.Obj] != "":
			r.text += " of " + ob.owners[r.op.Obj]
		case len(list) > 1 && slices.Contains(list, r.op.Obj):
			r.text += fmt.Sprintf(" #%d", slices.Index(list, r.op.Obj)+1)
		}
		if r.value != "" {
			r.text += " = " + r.value
		}
	}
}

func (ob *observer) note(s string) {
	if n := len(ob.rows); n > 0 {
		ob.rows[n-1].notes = append(ob.rows[n-1].notes, s)
	}
}

func (ob *observer) event(r kernel.Record) {
	if e, ok := r.Event.(afnetlink.SocketEvent); ok && !e.Gone {
		ob.socks = append(ob.socks, e.Sock)
	}
	if ob.w.over {
		return
	}
	switch e := r.Event.(type) {
	case kernel.AccessEvent:
		ob.access(e)
	case kernel.LockEvent, kernel.WakeEvent, kernel.Observation:
	case kernel.SyscallEvent:
		if e.Done {
			ob.note(e.String())
		}
	default:
		ob.note(r.Event.String())
	}
}

// access adds the value that a program has loaded or stored to the row.
func (ob *observer) access(e kernel.AccessEvent) {
	if len(ob.rows) == 0 || e.Waiting || len(e.Data) != 4 {
		return
	}
	r := &ob.rows[len(ob.rows)-1]
	v := uint32(e.Data[0]) | uint32(e.Data[1])<<8 | uint32(e.Data[2])<<16 | uint32(e.Data[3])<<24
	if r.value = fmt.Sprint(v); strings.HasSuffix(r.text, "] status") {
		r.value = uapi.StatusName(v)
	}
}

// shortened leaves out the middle of a long text.
func shortened(s string) string {
	const head, tail = 100, 30
	if len(s) <= head+tail+5 {
		return s
	}
	return s[:head] + " ... " + s[len(s)-tail:]
}

// table writes the steps of a run. What is not shown is folded, unless Options.Full asks for everything.
func (f *Failure) table(out io.Writer, threads []string, rows []row) {
	fmt.Fprintf(out, "program %s, kernel %v, memory %v, %d switches", f.Program.Name, f.Options.Version, f.Options.Memory, len(f.Switches))
	if len(f.LeftOut) > 0 {
		fmt.Fprintf(out, ", without optional steps %v", f.LeftOut)
	}
	fmt.Fprintf(out, "\n\n")
	t := tableWriter{out: out, threads: len(threads), full: f.Options.Full}
	for _, l := range legend(f.Options.Memory, rows) {
		fmt.Fprintf(out, "  %s\n", l)
	}
	fmt.Fprintf(out, "%8s ", "step")
	for _, name := range threads {
		t.cell(name)
	}
	fmt.Fprintln(out, "frames")
	first, period := cycle(rows)
	if period == 0 {
		t.rows(rows)
		return
	}
	t.rows(rows[:first])
	fmt.Fprintf(out, "%8s again and again, %d times until step %d:\n", "", (len(rows)-first)/period, rows[len(rows)-1].step)
	t.rows(rows[first : first+period])
}

// legend explains the marks that a table has.
func legend(memory memmodel.Model, rows []row) []string {
	has := func(is func(r row) bool) bool { return slices.ContainsFunc(rows, is) }
	var list []string
	if has(func(r row) bool { return r.chosen }) {
		list = append(list, "> the schedule departs from the usual one: a switch of the replay")
	}
	if has(func(r row) bool { return r.races != "" }) {
		list = append(list, "a the same letter twice: two steps that touch the same thing, and nothing orders them")
	}
	if memory != memmodel.SC && has(func(r row) bool { return r.op.Kind == sched.Drain }) {
		list = append(list, "~N X store buffer slot N makes the task's store to X visible")
	}
	return list
}

// cycle finds the steps at the end of a run that are made again and again, at least three times: where they first come
// and how many they are, 0 for none.
func cycle(rows []row) (first, period int) {
	same := func(i, j int) bool {
		return rows[i].thread == rows[j].thread && rows[i].text == rows[j].text && slices.Equal(rows[i].notes, rows[j].notes)
	}
	n := len(rows) - 1 // the last step may be cut short
	for period = 1; 3*period <= n; period++ {
		first = n - period
		for first > 0 && same(first-1, first-1+period) {
			first--
		}
		if first <= n-3*period {
			return first, period
		}
	}
	return 0, 0
}

// A tableWriter writes a table.
type tableWriter struct {
	out     io.Writer
	threads int
	full    bool
}

// width is that of a task's column.
const width = 34

func (p tableWriter) cell(text string) { fmt.Fprintf(p.out, "%-*s", width, cut(text, width-1)) }

func (p tableWriter) rows(rows []row) {
	for i := 0; i < len(rows); {
		n := 0 // rows to fold
		for !p.full && i+n < len(rows) && !rows[i+n].shown && rows[i+n].thread == rows[i].thread && rows[i+n].call == rows[i].call {
			n++
		}
		if n > 1 {
			p.folded(rows[i], n)
			i += n
			continue
		}
		if n = piecesOf(rows[i:]); !p.full && n > 2 {
			text, _, _ := strings.Cut(rows[i].text, " +")
			fmt.Fprintf(p.out, "%8s %s... %s, in %d steps\n", "", strings.Repeat(" ", width*rows[i].thread), text, n)
			i += n
			continue
		}
		p.row(rows[i])
		i++
	}
}

// piecesOf is how many rows at the beginning are accesses to pieces of one message, with nothing else to tell.
func piecesOf(rows []row) (n int) {
	for _, r := range rows {
		text, _, ok := strings.Cut(r.text, " message +")
		first, _, _ := strings.Cut(rows[0].text, " message +")
		if !ok || text != first || r.thread != rows[0].thread || r.frames != "" || r.races != "" || r.chosen || len(r.notes) > 0 {
			break
		}
		n++
	}
	return n
}

// folded writes one line for n rows.
func (p tableWriter) folded(r row, n int) {
	text := fmt.Sprintf("... %d steps", n)
	if r.call != "" {
		text += " inside " + r.call
	}
	fmt.Fprintf(p.out, "%8s %s%s\n", "", strings.Repeat(" ", width*r.thread), text)
}

func (p tableWriter) row(r row) {
	mark := " "
	if r.chosen {
		mark = ">"
	}
	// The letters stand before the number, the last three of them.
	fmt.Fprintf(p.out, "%3s%s%4d ", r.races[max(0, len(r.races)-3):], mark, r.step)
	line := strings.Repeat(" ", width*r.thread) + r.text
	if r.frames != "" {
		line = fmt.Sprintf("%-*s%s", width*p.threads, line, strings.TrimSpace(r.frames))
	}
	fmt.Fprintln(p.out, line)
	for _, n := range r.notes {
		if !p.full {
			n = shortened(n)
		}
		fmt.Fprintf(p.out, "%8s %s  %s\n", "", strings.Repeat(" ", width*r.thread), n)
	}
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
