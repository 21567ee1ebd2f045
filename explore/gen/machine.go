package gen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/inet"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// A machine is one run of a program.
type machine struct {
	w       *explore.World
	system  *subsys.System
	stack   *inet.Stack
	p       Program
	main    sys.Task
	all     []sys.Task // one for each table of descriptors, main first
	results [][]string // of each task's operations
	// Descriptors that the set-up made: -1 for none.
	epfd, pair, over int
}

// run is the program as a set-up of package explore.
func (p Program) run(w *explore.World) {
	w.Unruly()
	system, net := w.Machine()
	m := &machine{w: w, system: system, stack: system.Inet(net), p: p, main: w.Process("main"), epfd: -1, pair: -1, over: -1}
	m.all = append(m.all, m.main)
	for _, o := range p.Setup {
		verbs[o.Verb].do(m, m.main, o.Args)
	}
	m.stack.LoUp(m.admin()) // or the first packet would do it
	m.results = make([][]string, len(p.Tasks))
	for i, task := range p.Tasks {
		name := fmt.Sprint("t", i)
		drive := func(t sys.Task) {
			for _, o := range task.Ops {
				m.results[i] = append(m.results[i], verbs[o.Verb].do(m, t, o.Args))
			}
		}
		if task.Kind == Softirq {
			w.Softirq(name, func(t *kernel.Task) { drive(t) })
			continue
		}
		w.Go(m.task(task.Kind, name), drive)
	}
	w.Outcome(m.outcome)
	w.Finally(func() { m.stack.FlushRules(m.admin()) })
}

// admin is the administrator of the machine.
func (m *machine) admin() *kernel.Task { return m.system.Kernel.KernelTask("admin") }

func (m *machine) task(kind Kind, name string) sys.Task {
	flags := 0
	switch kind {
	case Main:
		return m.main
	case Thread:
		flags = sys.SharedAll
	case VM:
		flags = uapi.CloneVM
	}
	t, err := m.main.Clone(name, flags)
	m.w.Must(err)
	if kind != Thread {
		m.all = append(m.all, t)
	}
	return t
}

// modelled is the machine's side of a task, for what is no system call.
func modelled(t sys.Task) *kernel.Task { return t.(*kernel.Task) }

// outcome is what the operations returned, and then what each process finds at the end.
func (m *machine) outcome() string {
	var parts []string
	for i, t := range m.p.Tasks {
		list := m.results[i]
		for range len(t.Ops) - len(list) {
			list = append(list, "blocks")
		}
		parts = append(parts, fmt.Sprintf("%s: %s", t.Kind, strings.Join(list, ", ")))
	}
	for i, t := range m.all {
		name := "end"
		if i > 0 {
			name += strconv.Itoa(i)
		}
		if modelled(t).Dead() {
			parts = append(parts, name+" dead")
			continue
		}
		for fd := 3; fd <= 5; fd++ {
			if s := m.final(t, strconv.Itoa(fd)); s != "" {
				parts = append(parts, fmt.Sprintf("%s %d: %s", name, fd, s))
			}
		}
		for _, p := range places {
			if s := m.memory(t, p); s != "" {
				parts = append(parts, fmt.Sprintf("%s map %s: %s", name, p, s))
			}
		}
	}
	return strings.Join(parts, "; ")
}

// final is what can be seen of a descriptor; nothing for one that is no socket.
func (m *machine) final(t sys.Task, fd string) string {
	arg := []string{fd}
	name := m.getsockname(t, arg)
	if name == "EBADF" || name == "ENOTSOCK" {
		return ""
	}
	list := []string{name, m.getpeername(t, arg)}
	for _, option := range []string{"error", "memberships", "rcvbuf"} {
		list = append(list, m.get(t, []string{fd, option}))
	}
	for range 3 {
		got := m.recv(t, []string{fd, "dontwait"})
		list = append(list, got)
		if got == "EAGAIN" {
			break
		}
	}
	return strings.Join(list, " ")
}

// memory is what can be seen of a map.
func (m *machine) memory(t sys.Task, place string) string {
	var list []string
	for _, frame := range frames {
		for _, word := range []string{"status", "len", "group", "pid", "uid", "gid"} {
			word := m.load(t, []string{place, frame, word})
			if word == "SIGSEGV" {
				return ""
			}
			list = append(list, word)
		}
		list = append(list, m.read(t, []string{place, frame}))
	}
	return strings.Join(list, " ")
}

// What follows are the verbs.

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err) // Parse and New let no such argument through
	}
	return n
}

// result is a call's value, or the name of its error.
func result(v any, err error) string {
	switch {
	case err == nil:
		return fmt.Sprint(v)
	case errors.Is(err, sys.ErrBlocks):
		return "blocks"
	case errors.Is(err, sys.ErrKilled):
		return "killed"
	}
	var fault sys.Signal
	if errors.As(err, &fault) {
		return fault.Error()
	}
	return unix.ErrnoName(sys.ErrnoOf(err))
}

func ok(err error) string { return result("ok", err) }

// digest is data in a form that is short and the same for the same data only.
func digest(data []byte) string {
	h := fnv.New64a()
	h.Write(data)
	return fmt.Sprintf("%d#%x", len(data), h.Sum64())
}

func addr(port, group string) []byte {
	groups := uint32(0)
	if g := number(group); g > 0 {
		groups = 1 << (g - 1)
	}
	return uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: uint32(number(port)), Groups: groups}.Bytes()
}

func showAddr(b []byte, err error) string {
	if err != nil {
		return result(nil, err)
	}
	if len(b) < uapi.SockaddrNLlen {
		return digest(b)
	}
	a := uapi.ParseSockaddrNL(b)
	return fmt.Sprintf("%d/%#x", a.Pid, a.Groups)
}

var protocols = map[string]int{"route": uapi.NetlinkRoute, "usersock": uapi.NetlinkUsersock, "netfilter": uapi.NetlinkNetfilter,
	"generic": uapi.NetlinkGeneric, "diag": uapi.NetlinkSockDiag}

func (m *machine) socket(t sys.Task, a []string) string {
	return result(t.Socket(uapi.AFNetlink, uapi.SockRaw, protocols[a[0]]))
}

func (m *machine) bind(t sys.Task, a []string) string {
	return ok(t.Bind(number(a[0]), addr(a[1], a[2])))
}

func (m *machine) connect(t sys.Task, a []string) string {
	return ok(t.Connect(number(a[0]), addr(a[1], a[2])))
}

func (m *machine) getsockname(t sys.Task, a []string) string {
	return showAddr(t.Getsockname(number(a[0])))
}
func (m *machine) getpeername(t sys.Task, a []string) string {
	return showAddr(t.Getpeername(number(a[0])))
}
func (m *machine) close(t sys.Task, a []string) string { return ok(t.Close(number(a[0]))) }
func (m *machine) dup(t sys.Task, a []string) string   { return result(t.Dup(number(a[0]))) }

func (m *machine) proc(t sys.Task, _ []string) string {
	text, err := modelled(t).ReadProc("/proc/net/netlink")
	return result(digest([]byte(text)), err)
}

// words are the native words of an option's value.
func words(v ...int) []byte {
	var b []byte
	for _, w := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(w))
	}
	return b
}

func (m *machine) set(t sys.Task, a []string) string {
	fd, v := number(a[0]), number(a[2])
	set := func(level, name int, val []byte) string { return ok(t.Setsockopt(fd, level, name, val)) }
	switch a[1] {
	case "add-membership":
		return set(uapi.SolNetlink, uapi.NetlinkAddMembership, words(v))
	case "drop-membership":
		return set(uapi.SolNetlink, uapi.NetlinkDropMembership, words(v))
	case "no-enobufs":
		return set(uapi.SolNetlink, uapi.NetlinkNoENOBUFS, words(v))
	case "broadcast-error":
		return set(uapi.SolNetlink, uapi.NetlinkBroadcastError, words(v))
	case "pktinfo":
		return set(uapi.SolNetlink, uapi.NetlinkPktinfo, words(v))
	case "rcvbuf":
		return set(uapi.SolSocket, uapi.SoRcvbuf, words(4000*v))
	case "sndbuf":
		return set(uapi.SolSocket, uapi.SoSndbuf, words(4000*v))
	case "passcred":
		return set(uapi.SolSocket, uapi.SoPasscred, words(v))
	case "rcvtimeo":
		return set(uapi.SolSocket, uapi.SoRcvtimeo, words(0, 0, 5000*v, 0))
	case "no-filter":
		return set(uapi.SolSocket, uapi.SoDetachFilter, words(0))
	}
	return set(uapi.SolSocket, uapi.SoAttachFilter, words(6, []int{1 << 16, 20, 0}[v])) // ret #n: pass, cut, reject
}

func (m *machine) get(t sys.Task, a []string) string {
	level, name, size := uapi.SolNetlink, 0, 4
	switch a[1] {
	case "error":
		level, name = uapi.SolSocket, uapi.SoError
	case "rcvbuf":
		level, name = uapi.SolSocket, uapi.SoRcvbuf
	case "memberships":
		name, size = uapi.NetlinkListMemberships, 8
	case "no-enobufs":
		name = uapi.NetlinkNoENOBUFS
	case "broadcast-error":
		name = uapi.NetlinkBroadcastError
	default:
		name = uapi.NetlinkPktinfo
	}
	val, err := t.Getsockopt(number(a[0]), level, name, size)
	return result(fmt.Sprintf("%x", val), err)
}

// ring sets a ring of one block of one page, or clears it.
func (m *machine) ring(t sys.Task, a []string) string {
	option := uapi.NetlinkRxRing
	if a[1] == "tx" {
		option = uapi.NetlinkTxRing
	}
	var req uapi.NLMMapReq
	if n := uint32(number(a[2])); n > 0 {
		req = uapi.NLMMapReq{BlockSize: uapi.PageSize, BlockNr: 1, FrameSize: uapi.PageSize / n, FrameNr: n}
	}
	return ok(t.Setsockopt(number(a[0]), uapi.SolNetlink, option, req.Bytes()))
}

// place is the address of a map, frame the one of a frame in it. A map is as large as one ring; frames are so far apart as
// the two of a ring of two.
func place(p string) uint64 { return 0x10000000 + uint64(number(p))*0x100000 }

func frame(p, f string) uint64 { return place(p) + uint64(number(f))*uapi.PageSize/2 }

func (m *machine) mmap(t sys.Task, a []string) string {
	prot := uapi.ProtRead | uapi.ProtWrite
	return result(t.Mmap(place(a[1]), uapi.PageSize, prot, uapi.MapShared|uapi.MapFixed, number(a[0]), 0))
}

func (m *machine) munmap(t sys.Task, a []string) string {
	return ok(t.Munmap(place(a[0]), uapi.PageSize))
}

func (m *machine) mprotect(t sys.Task, a []string) string {
	prot := map[string]int{"r": uapi.ProtRead, "rw": uapi.ProtRead | uapi.ProtWrite}[a[1]]
	return ok(t.Mprotect(place(a[0]), uapi.PageSize, prot))
}

func (m *machine) mremap(t sys.Task, a []string) string {
	return result(t.Mremap(place(a[0]), uapi.PageSize, uint64(number(a[1]))*uapi.PageSize, false, false, 0))
}

func (m *machine) status(t sys.Task, a []string) string {
	values := map[string]uint32{"unused": uapi.NLMMapStatusUnused, "reserved": uapi.NLMMapStatusReserved,
		"valid": uapi.NLMMapStatusValid, "copy": uapi.NLMMapStatusCopy, "skip": uapi.NLMMapStatusSkip}
	return ok(t.Store32(frame(a[0], a[1]), values[a[2]]))
}

func (m *machine) load(t sys.Task, a []string) string {
	offsets := map[string]uint64{"status": uapi.NMStatus, "len": uapi.NMLen, "group": uapi.NMGroup, "pid": uapi.NMPid, "uid": uapi.NMUID,
		"gid": uapi.NMGID}
	return result(t.Load32(frame(a[0], a[1]) + offsets[a[2]]))
}

func (m *machine) read(t sys.Task, a []string) string {
	var b [36]byte
	err := t.ReadMem(frame(a[0], a[1])+uapi.NLMMapHdrlen, b[:])
	return result(digest(b[:]), err)
}

// consume takes the message of a frame as a program does that keeps the rules: it looks at the status, reads the header and
// the message of a VALID frame, receives that of a COPY frame, and gives the frame back.
func (m *machine) consume(t sys.Task, a []string) string {
	at := frame(a[1], a[2])
	status, err := t.Load32(at + uapi.NMStatus)
	if err != nil {
		return ok(err)
	}
	var got string
	switch status {
	default:
		return uapi.StatusName(status)
	case uapi.NLMMapStatusValid:
		var header [uapi.NLMMapHdrlen - uapi.NMLen]byte
		if err := t.ReadMem(at+uapi.NMLen, header[:]); err != nil {
			return ok(err)
		}
		msg := make([]byte, min(binary.LittleEndian.Uint32(header[:]), uapi.PageSize/2-uapi.NLMMapHdrlen))
		if err := t.ReadMem(at+uapi.NLMMapHdrlen, msg); err != nil {
			return ok(err)
		}
		got = fmt.Sprintf("%x %s", header, digest(msg))
	case uapi.NLMMapStatusCopy:
		if got = m.recv(t, []string{a[0], "dontwait"}); got == "EAGAIN" {
			return got
		}
	}
	return fmt.Sprint(got, " ", ok(t.Store32(at+uapi.NMStatus, uapi.NLMMapStatusUnused)))
}

// fill writes a message into a TX frame, as a program does.
func (m *machine) fill(t sys.Task, a []string) string {
	at, msg := frame(a[0], a[1]), message(a[2])
	if err := t.WriteMem(at+uapi.NLMMapHdrlen, msg); err != nil {
		return ok(err)
	}
	if err := t.Store32(at+uapi.NMLen, uint32(len(msg))); err != nil {
		return ok(err)
	}
	return ok(t.Store32(at, uapi.NLMMapStatusValid))
}

// message builds one of messages.
func message(name string) []byte {
	var b userspace.Builder
	h := uapi.NLMsgHdr{Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: 7}
	switch name {
	case "noop":
		h.Type = uapi.NLMsgNoop
		b.Begin(h).End()
	case "bad":
		h.Type = 511
		b.Begin(h).Raw(make([]byte, 40)...).End()
	case "dump-neigh":
		return userspace.DumpRequest(uapi.RTMGetneigh, uapi.AFInet, 8)
	case "dump-link":
		return userspace.DumpRequest(uapi.RTMGetlink, 0, 8)
	case "dump-diag":
		h.Type, h.Flags = uapi.SockDiagByFamily, uapi.NLMFRequest|uapi.NLMFDump
		b.Begin(h).Raw(uapi.AFNetlink, 255).Raw(make([]byte, 30)...).End()
	case "dump-family":
		h.Type, h.Flags = 16, uapi.NLMFRequest|uapi.NLMFDump
		b.Begin(h).Raw(3, 1, 0, 0).End()
	case "set-link": // lo up, which members of group 1 are told
		h.Type = uapi.RTMNewlink
		b.Begin(h).Raw(words(0, 1, 1, 1)...).End()
	case "queue-bind":
		userspace.QueueBind(&b, 9, 0)
		userspace.QueueSet(&b, 10, 0, userspace.QueueParams{Mode: userspace.CopyPacket, Range: 60})
	case "queue-unbind":
		userspace.QueueUnbind(&b, 9, 0)
	case "accept":
		userspace.QueueVerdict(&b, 9, 0, 1, 1)
	case "accept-all":
		userspace.QueueVerdictBatch(&b, 9, 0, 2, 1)
	case "log-bind":
		userspace.LogBind(&b, 9, 1)
	case "log-unbind":
		userspace.LogUnbind(&b, 9, 1)
	case "short":
		return []byte{20, 0, 0, 0, 16, 0}
	}
	msg, err := b.Bytes()
	if err != nil {
		panic(err) // the messages above have room
	}
	return msg
}

func (m *machine) send(t sys.Task, a []string) string {
	return result(sys.Sendto(t, number(a[0]), message(a[1]), uapi.MsgDontwait, addr("0", "0")))
}

// payload is a message for another program; the kernel does not look into it.
func (m *machine) payload(t sys.Task, fd string) []byte {
	return append(message("noop"), modelled(t).Name+" by "+fd...)
}

func (m *machine) sendto(t sys.Task, a []string) string {
	return result(sys.Sendto(t, number(a[0]), m.payload(t, a[0]), uapi.MsgDontwait, addr(a[1], a[2])))
}

func (m *machine) sendWait(t sys.Task, a []string) string {
	return result(sys.Sendto(t, number(a[0]), m.payload(t, a[0]), 0, addr(a[1], a[2])))
}

func (m *machine) kick(t sys.Task, a []string) string {
	return result(t.Sendmsg(number(a[0]), &sys.Msghdr{Iov: []sys.Iovec{{}}}, uapi.MsgDontwait))
}

func (m *machine) recv(t sys.Task, a []string) string {
	flags := map[string]int{"dontwait": uapi.MsgDontwait, "peek": uapi.MsgDontwait | uapi.MsgPeek}[a[1]]
	buf := make([]byte, 4096)
	msg := sys.Msghdr{Iov: []sys.Iovec{sys.Iov(buf)}, WantControl: true}
	n, err := t.Recvmsg(number(a[0]), &msg, flags)
	if err != nil {
		return result(nil, err)
	}
	return fmt.Sprintf("%s from %s %#x %x", digest(buf[:n]), showAddr(msg.Name, nil), msg.Flags, msg.Control)
}

func (m *machine) poll(t sys.Task, a []string) string {
	events := map[string]uint32{"in": uapi.PollIn, "out": uapi.PollOut, "in+out": uapi.PollIn | uapi.PollOut}[a[1]]
	fds := []sys.PollFD{{FD: number(a[0]), Events: events}}
	n, err := t.Poll(fds, timeout(a[2]))
	return result(fmt.Sprintf("%d:%#x", n, fds[0].Revents), err)
}

func timeout(ms string) sys.Time { return sys.Time(number(ms)) * sys.Millisecond }

func (m *machine) epoll(t sys.Task, _ []string) string {
	var err error
	m.epfd, err = t.EpollCreate()
	return result(m.epfd, err)
}

func (m *machine) epollCtl(t sys.Task, a []string) string {
	name, et := strings.CutSuffix(a[1], "-et")
	events := uint32(uapi.PollIn)
	if et {
		events |= uapi.EpollET
	}
	name, none := strings.CutSuffix(name, "-none")
	if none {
		events = 0
	}
	op := map[string]int{"add": kernel.EpollAdd, "mod": kernel.EpollMod, "del": kernel.EpollDel}[name]
	return ok(t.EpollCtl(m.epfd, op, number(a[0]), events))
}

func (m *machine) epollWait(t sys.Task, a []string) string {
	events, err := t.EpollWait(m.epfd, 4, timeout(a[0]))
	return result(events, err)
}

// fork makes a child that exits.
func (m *machine) fork(t sys.Task, _ []string) string {
	child, err := sys.Fork(t, modelled(t).Name+" child")
	if err != nil {
		return ok(err)
	}
	m.w.Go(child, func(t sys.Task) { _ = t.ExitGroup() })
	return strconv.Itoa(child.Tgid())
}

func (m *machine) exit(t sys.Task, _ []string) string {
	_ = t.ExitGroup()
	return "exit"
}

func (m *machine) socketpair(t sys.Task, _ []string) string {
	var err error
	m.pair, m.over, err = t.Socketpair()
	return ok(err)
}

func (m *machine) sendFD(t sys.Task, a []string) string {
	if fd := number(a[0]); fd == m.pair || fd == m.over {
		return "own" // a UNIX socket in flight over itself is for a collector, which the machine does not have
	}
	return ok(t.SendFD(m.pair, number(a[0])))
}

func (m *machine) recvFD(t sys.Task, _ []string) string { return result(t.RecvFD(m.over)) }

func (m *machine) neighbours(_ sys.Task, a []string) string {
	return ok(m.stack.PopulateNeigh(m.admin(), number(a[0])))
}

// rule sends all packets to queue 0, or logs them to group 1.
func (m *machine) rule(_ sys.Task, a []string) string {
	rule := m.system.NFQueue.Rule(0, false)
	if a[0] == "log" {
		rule = m.system.NFLog.Rule(1, 1, "")
	}
	m.stack.AddRule(m.admin(), rule)
	return "ok"
}

// packet sends a packet as the kernel does on behalf of nobody.
func (m *machine) packet(t sys.Task, _ []string) string {
	cur := modelled(t)
	if t == m.main {
		cur = m.admin()
	}
	sent, failed := m.stack.SendUDP(cur, 1, 8)
	return fmt.Sprint(sent, failed)
}

// timer is the timer interrupt.
func (m *machine) timer(t sys.Task, _ []string) string {
	return fmt.Sprint(m.system.Kernel.FireTimer(modelled(t)))
}

// neighbour is a change of the table that a dump may be reading.
func (m *machine) neighbour(t sys.Task, _ []string) string {
	return ok(m.stack.PopulateNeigh(modelled(t), 1))
}

// flood sends until there is no room.
func (m *machine) flood(t sys.Task, a []string) string {
	msg := append(message("noop"), make([]byte, 1000)...)
	n := 0
	for n < 10 {
		if _, err := sys.Sendto(t, number(a[0]), msg, uapi.MsgDontwait, addr(a[1], "0")); err != nil {
			break
		}
		n++
	}
	return strconv.Itoa(n)
}
