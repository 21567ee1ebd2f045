package live

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"nlmmap/scenario"
)

// A tap is a packet socket on an nlmon device. The socket is the program's, so no task sees it.
type tap struct {
	tr *tracer
	fd int
}

func (a *admin) newTap(tr *tracer) (*tap, error) {
	index, err := a.addLink(fmt.Sprintf("nlmon%d", len(a.taps)), "nlmon")
	if err != nil {
		return nil, err
	}
	// Protocol 0 catches nothing before the socket is bound to the device.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swap16(unix.ETH_P_ALL), Ifindex: index}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	t := &tap{tr: tr, fd: fd}
	a.taps = append(a.taps, t)
	return t, nil
}

// swap16 turns network byte order into x86-64's and back.
func swap16(v uint16) uint16 { return v<<8 | v>>8 }

func (t *tap) Read() (p scenario.Packet, ok bool, err error) {
	err = t.tr.do(func() error {
		buf := make([]byte, 4096)
		n, from, err := unix.Recvfrom(t.fd, buf, unix.MSG_TRUNC)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		ok = true
		p.Len = n
		p.Data = buf[:min(n, len(buf))]
		if ll, isLL := from.(*unix.SockaddrLinklayer); isLL {
			p.Type = int(ll.Pkttype)
			p.Protocol = int(swap16(ll.Protocol))
		}
		return nil
	})
	return p, ok, err
}

func (t *tap) close() { unix.Close(t.fd) }
