// Package nltest is what the tests of the subsystems share: a booted machine, and sockets whose calls fail the test.
package nltest

import (
	"encoding/binary"
	"errors"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/uapi"
)

// A Machine is a booted machine with a process in a namespace of its own.
type Machine struct {
	*subsys.System
	*kernel.Task
	t testing.TB
}

// Boot boots a machine, which is closed, and must be clean, when the test ends.
func Boot(t testing.TB, version kernel.Version) *Machine {
	t.Helper()
	sys, err := subsys.Boot(kernel.Config{Version: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Kernel.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Machine{sys, sys.Kernel.NewProcess("main", sys.Kernel.NewNet()), t}
}

// EachRelease runs a test for each modelled release.
func EachRelease(t *testing.T, test func(t *testing.T, m *Machine)) {
	for _, r := range kernel.Releases() {
		t.Run(r.String(), func(t *testing.T) { test(t, Boot(t, kernel.Version{Release: r})) })
	}
}

// Release is the modelled release.
func (m *Machine) Release() kernel.Release { return m.Task.Kernel().Config().Version.Release }

// A Sock is an open socket of the machine's process.
type Sock struct {
	m  *Machine
	FD int
}

// Open opens a socket and binds it.
func (m *Machine) Open(proto int, portid, groups uint32) Sock {
	m.t.Helper()
	fd, err := m.Task.Socket(uapi.AFNetlink, uapi.SockRaw, proto)
	if err != nil {
		m.t.Fatal(err)
	}
	s := Sock{m, fd}
	if err := m.Task.Bind(fd, uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: portid, Groups: groups}.Bytes()); err != nil {
		m.t.Fatal(err)
	}
	return s
}

// Send sends one request to the kernel.
func (s Sock) Send(typ, flags uint16, payload []byte) {
	s.m.t.Helper()
	msg := Msg(typ, flags, payload)
	if n, err := s.m.Task.Sendto(s.FD, msg, uapi.MsgDontwait, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes()); n != len(msg) || err != nil {
		s.m.t.Fatalf("send: %d %v", n, err)
	}
}

// Msg returns a message with sequence number 7.
func Msg(typ, flags uint16, payload []byte) []byte {
	msg := uapi.AppendMessage(nil, uapi.NLMsgHdr{Type: typ, Flags: flags | uapi.NLMFRequest, Seq: 7}, payload)
	return msg[:uapi.NLMsgHdrlen+len(payload)] // a program need not pad the last message
}

// A Message is one message of a buffer.
type Message struct {
	uapi.NLMsgHdr
	Payload []byte
}

// Code is what an error or the end of a dump says.
func (m Message) Code() int { return int(int32(binary.LittleEndian.Uint32(m.Payload))) }

// Bytes receives one buffer, nil if there is none.
func (s Sock) Bytes() []byte {
	s.m.t.Helper()
	buf := make([]byte, 65536)
	n, err := s.m.Task.Recvmsg(s.FD, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, uapi.MsgDontwait)
	switch {
	case errors.Is(err, kernel.EAGAIN):
		return nil
	case err != nil:
		s.m.t.Fatal(err)
	}
	return buf[:n]
}

// Recv receives one buffer and parses it.
func (s Sock) Recv() []Message {
	s.m.t.Helper()
	return Parse(s.m.t, s.Bytes())
}

// Parse splits a buffer into messages.
func Parse(t testing.TB, b []byte) []Message {
	t.Helper()
	var list []Message
	for m, err := range uapi.Messages(b) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Message{m.Header, m.Payload})
	}
	return list
}

// Ack sends a request with the ACK flag and returns the error field of the acknowledgement, which must be all there
// is.
func (s Sock) Ack(typ, flags uint16, payload []byte) int {
	s.m.t.Helper()
	s.Send(typ, flags|uapi.NLMFAck, payload)
	got := s.Recv()
	if len(got) != 1 || got[0].Type != uapi.NLMsgError {
		s.m.t.Fatalf("type %d: no acknowledgement but %+v", typ, got)
	}
	return got[0].Code()
}

// Dump sends a dump request and returns the buffers up to the one with DONE, whose code it returns too. A request that
// is refused gives its error and nil.
func (s Sock) Dump(typ uint16, payload []byte) (buffers [][]Message, code int) {
	s.m.t.Helper()
	s.Send(typ, uapi.NLMFDump, payload)
	for {
		got := s.Recv()
		if got == nil {
			s.m.t.Fatalf("the dump of type %d stops without DONE", typ)
		}
		last := got[len(got)-1]
		switch last.Type {
		case uapi.NLMsgError:
			return nil, last.Code()
		case uapi.NLMsgDone:
			return append(buffers, got), last.Code()
		}
		buffers = append(buffers, got)
	}
}
