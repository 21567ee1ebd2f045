package afnetlink

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/sock"
	"nlmmap/uapi"
)

// maxRecvlen bounds what a large receive buffer asks of later dumps.
const maxRecvlen = 16384

// Recvmsg implements kernel.SocketOps: netlink_recvmsg (spec 9). Messages in ring frames are never received.
//
// Errors: EOPNOTSUPP for MSG_OOB, the pending error of the socket, EAGAIN, EINTR, EFAULT when the message is lost.
// Where sk-err-negative a pending error can be negative: then that many bytes seem to have been received.
func (sk *Sock) Recvmsg(cur *kernel.Task, m *kernel.Msghdr, flags int) (int, error) {
	if flags&uapi.MsgOOB != 0 {
		return 0, kernel.EOPNOTSUPP
	}
	n, err := sk.receive(cur, m, flags)
	sk.rcvWake(cur)
	if err != nil {
		return received(n, err)
	}
	return n, nil
}

// received is what a call returns that has failed.
func received(n int, err error) (int, error) {
	var pending sock.SkError
	switch {
	case !errors.As(err, &pending):
		return n, err
	case pending < 0:
		return int(-pending), nil
	}
	return 0, unix.Errno(pending)
}

func (sk *Sock) receive(cur *kernel.Task, m *kernel.Msghdr, flags int) (int, error) {
	s, err := sk.RecvDatagram(cur, flags)
	if err != nil {
		return 0, err
	}
	if most := sk.recvlen(); most != nil {
		most.Store(cur, min(max(most.Load(cur), int64(m.Len())), maxRecvlen))
	}
	m.Flags = 0
	var n int
	s.Look(cur, func(data []byte) { n, err = kernel.Scatter(m, data) })
	if n < s.Len() {
		m.Flags |= uapi.MsgTrunc
	}
	if flags&uapi.MsgTrunc != 0 && err == nil {
		n = s.Len()
	}
	from := uapi.SockaddrNL{Family: uapi.AFNetlink, Pid: s.CB.Portid}
	if g := s.CB.DstGroup; g != 0 {
		from.Groups = 1 << ((g - 1) % 32)
	}
	m.Name = from.Append(m.Name[:0])
	m.Control = nil
	if sk.has(cur, flagRecvPktinfo) {
		sk.putCmsg(m, uapi.SolNetlink, uapi.NetlinkPktinfo, s.CB.DstGroup)
	}
	if sk.has(cur, flagListenAllNSID) && s.CB.HasNSID {
		sk.putCmsg(m, uapi.SolNetlink, uapi.NetlinkListenAllNSID, uint32(s.CB.NSID))
	}
	creds := s.CB.Creds
	s.Free(cur)
	sk.continueDump(cur)
	if sk.Passcred.Load(cur) != 0 {
		ns := cur.Cred().UserNS
		sk.putCmsg(m, uapi.SolSocket, uapi.ScmCredentials, uint32(creds.Pid), mungeID(ns.FromKID(creds.UID)), mungeID(ns.FromKID(creds.GID)))
	}
	return n, err
}

// overflowID is how an id without a name shows in credentials.
const overflowID = 65534

func mungeID(id uint32) uint32 {
	if id == kernel.Unmapped {
		return overflowID
	}
	return id
}

// putCmsg appends a control message of words: put_cmsg.
func (sk *Sock) putCmsg(m *kernel.Msghdr, level, typ uint32, words ...uint32) {
	if !m.WantControl {
		m.Flags |= uapi.MsgCtrunc
		return
	}
	le := binary.LittleEndian
	c := le.AppendUint64(m.Control, uint64(uapi.CmsgHdrlen+4*len(words)))
	c = le.AppendUint32(c, level)
	c = le.AppendUint32(c, typ)
	for _, w := range words {
		c = le.AppendUint32(c, w)
	}
	for len(c)%8 != 0 {
		c = append(c, 0)
	}
	m.Control = c
}

// continueDump is the part of recvmsg that produces the next message of a dump while at most half of the receive
// buffer is used; the ring is not looked at (recv-drives-dump).
func (sk *Sock) continueDump(cur *kernel.Task) {
	if sk.cb.running.Load(cur) == 0 || sk.Rmem.Load(cur) > sk.Rcvbuf.Load(cur)/2 {
		return
	}
	if err := sk.dump(cur); err != nil {
		sk.dumpFailed(cur, err)
	}
}

// dumpFailed reports the failure of a dump that nobody asked for at the moment. Where sk-err-negative the error has
// the wrong sign.
func (sk *Sock) dumpFailed(cur *kernel.Task, err error) {
	code := int64(kernel.ErrnoOf(err))
	if sk.nl.D.SkErrNegative {
		code = -code
	}
	sk.Err.Store(cur, code)
	sk.ErrorReport(cur)
}
