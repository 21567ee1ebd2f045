package live

import (
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"

	"nlmmap/scenario"
	"nlmmap/uapi"
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
	if err := hideOwn(fd); err != nil {
		unix.Close(fd)
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

// ownPid is the port id in the administrator's requests, and so in the headers that acknowledgements repeat. It is no
// process's.
const ownPid = 0x6e6c6d6d

// hideOwn keeps the administrator's requests and their acknowledgements from a tap, by which no scenario may see how it was
// set up.
func hideOwn(fd int) error {
	const (
		typ    = 4                          // where a message has its type
		pid    = 12                         // and its port id
		echoed = uapi.NLMsgHdrlen + 4 + pid // the port id in the header that an acknowledgement repeats
		all    = 1 << 18                    // bytes to let through
		loadW  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		loadH  = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		size   = unix.BPF_LD | unix.BPF_W | unix.BPF_LEN
		least  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	own := bits.ReverseBytes32(ownPid) // the machine of filters loads words in network byte order
	program := []unix.SockFilter{
		{Code: size},
		{Code: least, K: uapi.NLMsgHdrlen, Jf: 8},
		{Code: loadW, K: pid},
		{Code: equal, K: own, Jt: 7},
		{Code: loadH, K: typ},
		{Code: equal, K: uint32(swap16(uapi.NLMsgError)), Jf: 4},
		{Code: size},
		{Code: least, K: echoed + 4, Jf: 2},
		{Code: loadW, K: echoed},
		{Code: equal, K: own, Jt: 1},
		{Code: answer, K: all},
		{Code: answer, K: 0},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
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
