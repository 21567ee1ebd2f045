// Package nlmon has monitoring devices: netlink messages appear on them as packets, and a packet socket reads these
// (spec 13.6). Where the kernel has no taps (tap-copy) there are no such devices.
//
// A device and its packet socket are one thing here. What it shows of a message that is built in a ring frame is
// decided in afnetlink: see the difference tap-copy.
package nlmon

import (
	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/subsys/inet"
)

// PacketOutgoing is the type of all packets (PACKET_OUTGOING): the device transmits what it is shown.
const PacketOutgoing = 4

// rcvbuf is the receive buffer of the packet socket, which has the default size: when what is unread is charged with
// as much, further packets are lost.
const rcvbuf = 212992

// A Packet is one message, or one buffer of several.
type Packet struct {
	Type     int // PacketOutgoing
	Protocol int // the netlink protocol
	Len      int // of the whole packet
	Data     []byte
	charge   int
	held     *afnetlink.SKB // what a clone of a message in a frame is counted by, until it is read
}

// A Device is an nlmon device that is up, with a packet socket on it.
type Device struct {
	nl    *afnetlink.Netlink
	net   *kernel.Net
	tap   afnetlink.Tap
	lock  kernel.Spinlock
	inbox kernel.Guarded[inbox]
}

// inbox is what has arrived at the packet socket.
type inbox struct {
	queue []Packet
	rmem  int // what is charged for the queue
	lost  int
}

// New makes a device in a namespace and brings it up: nlmon_open. It sees the messages of all namespaces. EOPNOTSUPP
// where the kernel has no taps.
func New(cur *kernel.Task, nl *afnetlink.Netlink, stack *inet.Stack) (*Device, error) {
	d := &Device{nl: nl, net: stack.Net()}
	d.lock.Name = "packet queue"
	d.inbox.Guard(&d.lock.Mutex)
	d.tap.Deliver = d.xmit
	if err := nl.AddTap(cur, &d.tap); err != nil {
		return nil, err
	}
	link, err := stack.AddDevice(cur, inet.KindNlmon, "")
	if err == nil {
		err = stack.SetUp(cur, link.Index, true)
	}
	d.discard(cur) // the packet socket hears nothing before there is a device
	return d, err
}

// Net is the namespace that the device is in.
func (d *Device) Net() *kernel.Net { return d.net }

// xmit queues a packet for the reader: nlmon_xmit. The buffer is given back at once, so that nothing that taps keep
// outlives its socket; only a clone of a message in a ring frame (tap-copy-clone) stays one until it is read.
func (d *Device) xmit(cur *kernel.Task, s *afnetlink.SKB) {
	p := Packet{Type: PacketOutgoing, Protocol: s.Protocol, Len: s.Len(), Data: append([]byte(nil), s.Message(cur)...),
		charge: s.Truesize}
	if s.Destructor != nil {
		p.held = s
	}
	d.lock.Lock(cur)
	in := d.inbox.Of(cur)
	full := in.rmem >= rcvbuf
	if full {
		in.lost++
	} else {
		in.queue = append(in.queue, p)
		in.rmem += p.charge
	}
	d.lock.Unlock(cur)
	if full || p.held == nil {
		s.Free(cur)
	}
}

// Read returns the next packet; ok is false when there is none.
func (d *Device) Read(cur *kernel.Task) (p Packet, ok bool) {
	d.lock.Lock(cur)
	in := d.inbox.Of(cur)
	if ok = len(in.queue) > 0; ok {
		p, in.queue = in.queue[0], in.queue[1:]
		in.rmem -= p.charge
	}
	d.lock.Unlock(cur)
	p.release(cur)
	return p, ok
}

func (p *Packet) release(cur *kernel.Task) {
	if p.held != nil {
		p.held.Free(cur)
		p.held = nil
	}
}

// Lost is the number of packets for which there was no room.
func (d *Device) Lost(cur *kernel.Task) int {
	d.lock.Lock(cur)
	defer d.lock.Unlock(cur)
	return d.inbox.Of(cur).lost
}

// Close removes the device with what nobody has read: nlmon_close.
func (d *Device) Close(cur *kernel.Task) {
	d.nl.RemoveTap(cur, &d.tap)
	d.discard(cur)
}

// discard throws away what nobody has read.
func (d *Device) discard(cur *kernel.Task) {
	d.lock.Lock(cur)
	in := d.inbox.Of(cur)
	unread := in.queue
	in.queue, in.rmem = nil, 0
	d.lock.Unlock(cur)
	for i := range unread {
		unread[i].release(cur)
	}
}
