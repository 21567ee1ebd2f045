// Package interop gives Go code that speaks netlink over github.com/mdlayher/netlink a socket of the model: no process, no
// privileges, the same result each time, under the machine's simulated clock. Libraries that stand on such a connection, for
// example github.com/mdlayher/genetlink, run unmodified, in a test or under all schedules of package explore.
//
//	conn, err := interop.Dial(task, uapi.NetlinkRoute, nil)
//	msgs, err := conn.Execute(...)
//
// # Sharing a connection
//
// A netlink.Conn has locks of its own, which are Go's and not the machine's: a goroutine that waits for one of them is not seen to
// wait, and package explore would wait for it for ever. So two tasks of a search may share a Conn only where no lock is waited for:
// one sends while the other receives. Where both call Execute each needs a Conn of its own, as the library recommends.
package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// A Socket is a netlink socket of a task. It implements netlink.Socket and what a netlink.Conn can do beyond that, but for
// SyscallConn: there is no descriptor that the runtime could wait for.
type Socket struct {
	task   sys.Task
	fd     int
	portid uint32

	// The library numbers its requests from a random number on. What goes to the machine begins at 1, so that two runs are the same:
	// base is what is taken off.
	base    uint32
	started bool

	read, write time.Time // deadlines
}

var _ netlink.Socket = (*Socket)(nil)

// Dial makes a connection, as netlink.Dial does: a raw socket of a protocol (a number of uapi, NetlinkRoute for example), which is
// bound, and joined to the groups of the configuration. Of that NetNS and the sizes of buffers do not count.
func Dial(task sys.Task, protocol int, config *netlink.Config) (*netlink.Conn, error) {
	s, err := Open(task, protocol, config)
	if err != nil {
		return nil, err
	}
	return netlink.NewConn(s, s.portid), nil
}

// Open makes the socket of a connection.
func Open(task sys.Task, protocol int, config *netlink.Config) (*Socket, error) {
	if config == nil {
		config = &netlink.Config{}
	}
	fd, err := task.Socket(uapi.AFNetlink, uapi.SockRaw, protocol)
	if err != nil {
		return nil, call("socket", err)
	}
	s := &Socket{task: task, fd: fd}
	if err := s.bind(config); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Socket) bind(config *netlink.Config) error {
	addr := uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: config.PID, Groups: config.Groups}
	if err := s.task.Bind(s.fd, addr.Bytes()); err != nil {
		return call("bind", err)
	}
	name, err := s.task.Getsockname(s.fd)
	if err != nil {
		return call("getsockname", err)
	}
	s.portid = uapi.ParseSockaddrNL(name).Pid
	if config.Strict {
		for _, o := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.GetStrictCheck} {
			if err := s.SetOption(o, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// call says which system call an error is of, as package os does.
func call(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Epoch is the moment at which the clock of a machine began, for deadlines: Epoch.Add(5*time.Second) is when it shows 5 s.
var Epoch = time.Unix(0, 0)

// Now is what the clock of the task's machine shows. Deadlines count from it: SetReadDeadline(interop.Now(t).Add(time.Second)).
func Now(t sys.Task) time.Time { return Epoch.Add(time.Duration(t.Now())) }

// Close closes the socket.
func (s *Socket) Close() error { return call("close", s.task.Close(s.fd)) }

// Send sends one message.
func (s *Socket) Send(m netlink.Message) error { return s.SendMessages([]netlink.Message{m}) }

// SendMessages sends several messages in one buffer.
func (s *Socket) SendMessages(ms []netlink.Message) error {
	var b []byte
	for _, m := range ms {
		if !s.started {
			s.base, s.started = m.Header.Sequence-1, true
		}
		m.Header.Sequence -= s.base
		data, err := m.MarshalBinary()
		if err != nil {
			return err
		}
		b = append(b, data...)
	}
	flags := 0
	if !s.write.IsZero() {
		flags = uapi.MsgDontwait
		if err := s.wait(uapi.PollOut, s.write); err != nil {
			return err
		}
	}
	_, err := sys.Sendto(s.task, s.fd, b, flags, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	return call("sendmsg", err)
}

// wait waits until the socket is ready or the deadline is there.
func (s *Socket) wait(events uint32, deadline time.Time) error {
	left := deadline.Sub(Now(s.task))
	if left < 0 {
		return os.ErrDeadlineExceeded
	}
	n, err := s.task.Poll([]sys.PollFD{{FD: s.fd, Events: events}}, sys.Time(left))
	switch {
	case err != nil:
		return call("poll", err)
	case n == 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Receive receives the messages of one buffer.
func (s *Socket) Receive() ([]netlink.Message, error) {
	var ms []netlink.Message
	for m, err := range s.ReceiveIter() {
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// ReceiveIter receives one buffer and returns its messages. It waits for one, at most until the deadline.
func (s *Socket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		b, err := s.receive()
		for err == nil && len(b) > 0 {
			var m netlink.Message
			if m, b, err = s.next(b); err == nil && !yield(m, nil) {
				return
			}
		}
		if err != nil {
			yield(netlink.Message{}, err)
		}
	}
}

// receive looks how long the next buffer is, and takes it.
func (s *Socket) receive() ([]byte, error) {
	flags := 0
	if !s.read.IsZero() {
		flags = uapi.MsgDontwait
		if err := s.wait(uapi.PollIn, s.read); err != nil {
			return nil, err
		}
	}
	n, err := s.task.Recvmsg(s.fd, &sys.Msghdr{}, flags|uapi.MsgPeek|uapi.MsgTrunc)
	if err != nil {
		return nil, call("recvmsg", err)
	}
	b := make([]byte, n)
	m := &sys.Msghdr{Iov: []sys.Iovec{sys.Iov(b)}}
	if n, err = s.task.Recvmsg(s.fd, m, flags); err != nil {
		return nil, call("recvmsg", err)
	}
	if m.Flags&uapi.MsgTrunc != 0 {
		return nil, errors.New("the message is longer than it was when it was looked at")
	}
	return b[:n], nil
}

// next takes one message off a buffer, with the number that the library gave its request.
func (s *Socket) next(b []byte) (netlink.Message, []byte, error) {
	if len(b) < uapi.NLMsgHdrlen {
		return netlink.Message{}, nil, fmt.Errorf("%d bytes behind the last message", len(b))
	}
	h := uapi.ParseNLMsgHdr(b)
	if h.Len < uapi.NLMsgHdrlen || int(h.Len) > len(b) {
		return netlink.Message{}, nil, fmt.Errorf("a message says that it has %d bytes, and %d are there", h.Len, len(b))
	}
	data := append([]byte(nil), b[uapi.NLMsgHdrlen:h.Len]...)
	if h.Pid == s.portid && h.Seq != 0 { // an answer; others have their own numbers
		h.Seq += s.base
		if h.Type == uapi.NLMsgError && len(data) >= 4+uapi.NLMsgHdrlen { // the header that is answered
			seq := data[4+8:]
			binary.NativeEndian.PutUint32(seq, binary.NativeEndian.Uint32(seq)+s.base)
		}
	}
	m := netlink.Message{Header: netlink.Header{Length: h.Len, Type: netlink.HeaderType(h.Type), Flags: netlink.HeaderFlags(h.Flags), Sequence: h.Seq, PID: h.Pid}, Data: data}
	return m, b[min(uapi.NLMsgAlign(int(h.Len)), len(b)):], nil
}

// SetDeadline sets both deadlines, in the machine's time (see Now); the zero Time is none.
func (s *Socket) SetDeadline(t time.Time) error { s.read, s.write = t, t; return nil }

// SetReadDeadline is until when Receive waits.
func (s *Socket) SetReadDeadline(t time.Time) error { s.read = t; return nil }

// SetWriteDeadline is until when Send waits.
func (s *Socket) SetWriteDeadline(t time.Time) error { s.write = t; return nil }

// JoinGroup joins a multicast group.
func (s *Socket) JoinGroup(group uint32) error {
	return s.set(uapi.SolNetlink, uapi.NetlinkAddMembership, group)
}

// LeaveGroup leaves one.
func (s *Socket) LeaveGroup(group uint32) error {
	return s.set(uapi.SolNetlink, uapi.NetlinkDropMembership, group)
}

// Options that no modelled kernel knows.
const (
	optExtAck         = 11
	optGetStrictCheck = 12
)

// options are the numbers of the library's options.
var options = map[netlink.ConnOption]int{
	netlink.PacketInfo:          uapi.NetlinkPktinfo,
	netlink.BroadcastError:      uapi.NetlinkBroadcastError,
	netlink.NoENOBUFS:           uapi.NetlinkNoENOBUFS,
	netlink.ListenAllNSID:       uapi.NetlinkListenAllNSID,
	netlink.CapAcknowledge:      uapi.NetlinkCapAck,
	netlink.ExtendedAcknowledge: optExtAck,
	netlink.GetStrictCheck:      optGetStrictCheck,
}

// SetOption sets an option. Those that the machine's kernel does not know are refused with ENOPROTOOPT.
func (s *Socket) SetOption(option netlink.ConnOption, enable bool) error {
	name, ok := options[option]
	if !ok {
		return call("setsockopt", sys.ENOPROTOOPT)
	}
	val := uint32(0)
	if enable {
		val = 1
	}
	return s.set(uapi.SolNetlink, name, val)
}

// SetReadBuffer sets the size of the receive buffer, of which the kernel makes twice as much.
func (s *Socket) SetReadBuffer(bytes int) error {
	return s.set(uapi.SolSocket, uapi.SoRcvbuf, uint32(bytes))
}

// SetWriteBuffer is like SetReadBuffer.
func (s *Socket) SetWriteBuffer(bytes int) error {
	return s.set(uapi.SolSocket, uapi.SoSndbuf, uint32(bytes))
}

// ReadBuffer is what became of SetReadBuffer.
func (s *Socket) ReadBuffer() (int, error) { return s.get(uapi.SolSocket, uapi.SoRcvbuf) }

// WriteBuffer is what became of SetWriteBuffer.
func (s *Socket) WriteBuffer() (int, error) { return s.get(uapi.SolSocket, uapi.SoSndbuf) }

// SetBPF attaches a filter.
func (s *Socket) SetBPF(filter []bpf.RawInstruction) error {
	var b []byte
	for _, i := range filter {
		b = binary.NativeEndian.AppendUint16(b, i.Op)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return call("setsockopt", s.task.Setsockopt(s.fd, uapi.SolSocket, uapi.SoAttachFilter, b))
}

// RemoveBPF detaches it.
func (s *Socket) RemoveBPF() error { return s.set(uapi.SolSocket, uapi.SoDetachFilter, 0) }

func (s *Socket) set(level, name int, val uint32) error {
	return call("setsockopt", s.task.Setsockopt(s.fd, level, name, binary.NativeEndian.AppendUint32(nil, val)))
}

func (s *Socket) get(level, name int) (int, error) {
	b, err := s.task.Getsockopt(s.fd, level, name, 4)
	if err != nil || len(b) < 4 {
		return 0, call("getsockopt", err)
	}
	return int(binary.NativeEndian.Uint32(b)), nil
}
