// Package capture writes the messages of a machine to a file that Wireshark and tshark read: pcapng, with the link type that a
// monitoring device (nlmon) has. Unlike such a device it is no part of the machine: it works on kernels that have no taps, shows
// what the bytes of a message in a ring frame are, and changes nothing.
package capture

import (
	"encoding/binary"
	"io"
	"sync"
	"time"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
)

// linkTypeNetlink is LINKTYPE_NETLINK: a cooked header, and netlink messages behind it.
const linkTypeNetlink = 253

// The cooked header: where a packet goes, the kind of device (ARPHRD_NETLINK), an address that is not there, and the netlink protocol.
const (
	headerLen     = 16
	arphrdNetlink = 824
)

// Where a packet goes: PACKET_USER and PACKET_KERNEL of packet(7).
const (
	toUser   = 6
	toKernel = 7
)

// A Writer writes one packet for each buffer of messages that reaches a socket, be it a program's or the kernel's.
type Writer struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
	err   error
}

// New begins a file. start is when the machine's time began.
func New(w io.Writer, version kernel.Version, start time.Time) (*Writer, error) {
	_, err := w.Write(append(sectionHeader("nlmmap"), interfaceDescription(linkTypeNetlink, "netlink", "netlink of a modelled Linux "+version.String())...))
	return &Writer{w: w, start: start}, err
}

// Record hears of what the machine does: give it to kernel.Config.Trace. It may be called by several tasks at once.
func (c *Writer) Record(r kernel.Record) {
	switch e := r.Event.(type) {
	case afnetlink.RequestEvent:
		c.packet(r, toKernel, e.Sock.Protocol, e.SKB.Peek(r.Task), e)
	case afnetlink.DeliverEvent:
		c.packet(r, toUser, e.Sock.Protocol, e.SKB.Peek(r.Task), e)
	}
}

// packet writes a packet at once, so that nothing is lost when the program is killed, and a reader can follow.
func (c *Writer) packet(r kernel.Record, to uint16, protocol int, data []byte, e kernel.Event) {
	p := make([]byte, headerLen, headerLen+len(data))
	binary.BigEndian.PutUint16(p, to)
	binary.BigEndian.PutUint16(p[2:], arphrdNetlink)
	binary.BigEndian.PutUint16(p[14:], uint16(protocol))
	p = append(p, data...)
	direction := uint32(inbound)
	if to == toKernel {
		direction = outbound
	}
	block := enhancedPacket(c.start.Add(time.Duration(r.Time)), p, direction, e.String())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		_, c.err = c.w.Write(block)
	}
}

// Err returns what went wrong with writing. Nothing was written after that.
func (c *Writer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
