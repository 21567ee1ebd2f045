package interpose

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"nlmmap/subsys/inet"
)

// datagram lets what a program sends on a UDP socket pass the rules of the model's OUTPUT hook: a packet that they accept, at once
// or after a verdict, goes out underneath. What is not for this, is sent there as ever.
func (c *call) datagram(nr int) answer {
	sock, err := unix.PidfdGetfd(c.th.proc.pidfd, c.fd(), 0)
	if err != nil {
		return pass()
	}
	// The supervisor's copy of the socket lives until the last packet has been sent or dropped.
	defer unix.Close(sock)
	domain, err1 := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_DOMAIN)
	protocol, err2 := unix.GetsockoptInt(sock, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err1 != nil || err2 != nil || domain != unix.AF_INET || protocol != unix.IPPROTO_UDP {
		return pass()
	}
	return c.sending(nr, erestartsys, func(h *header, flags int) (int, error) { return c.sendDatagram(sock, h) })
}

func (c *call) sendDatagram(sock int, h *header) (int, error) {
	m, err := c.outgoing(h)
	if err != nil {
		return 0, err
	}
	var payload []byte
	for _, v := range m.Iov {
		if len(v.Base) < v.Len {
			return 0, unix.EFAULT
		}
		payload = append(payload, v.Base...)
	}
	to, err := destination(sock, m.Name)
	if err != nil {
		return 0, err
	}
	from, err := source(sock)
	if err != nil {
		return 0, err
	}
	p, err := c.stack().Datagram(c.th.task, from, to, payload)
	if err != nil {
		return 0, err
	}
	own, err := unix.FcntlInt(uintptr(sock), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	p.Done = func(p *inet.Packet, accepted bool) {
		defer unix.Close(own)
		if data := p.Payload(); accepted && data != nil {
			// As for a packet on its way, nobody hears of an error.
			_ = unix.Sendto(own, data, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		}
	}
	c.stack().Output(c.th.task, p)
	return len(payload), nil
}

// destination is the address of a message, or the socket's peer.
func destination(sock int, name []byte) (netip.AddrPort, error) {
	if name == nil {
		peer, err := unix.Getpeername(sock)
		if err != nil {
			return netip.AddrPort{}, unix.EDESTADDRREQ
		}
		return inet4(peer)
	}
	const sockaddrIn = 16
	switch {
	case len(name) < sockaddrIn:
		return netip.AddrPort{}, unix.EINVAL
	case binary.NativeEndian.Uint16(name) != unix.AF_INET:
		return netip.AddrPort{}, unix.EAFNOSUPPORT
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), binary.BigEndian.Uint16(name[2:])), nil
}

// source is the socket's own address. A socket that has none is bound, as sending does.
func source(sock int) (netip.AddrPort, error) {
	for {
		own, err := unix.Getsockname(sock)
		if err != nil {
			return netip.AddrPort{}, err
		}
		from, err := inet4(own)
		if err != nil {
			return from, err
		}
		if from.Port() == 0 {
			if err := unix.Bind(sock, &unix.SockaddrInet4{}); err != nil {
				return from, err
			}
			continue
		}
		if from.Addr().IsUnspecified() {
			from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), from.Port())
		}
		return from, nil
	}
}

func inet4(a unix.Sockaddr) (netip.AddrPort, error) {
	v4, ok := a.(*unix.SockaddrInet4)
	if !ok {
		return netip.AddrPort{}, unix.EAFNOSUPPORT
	}
	return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port)), nil
}
