package afnetlink

import (
	"encoding/binary"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// destination is where a call sends its messages.
type destination struct {
	portid, group uint32
	explicit      bool // the call had an address
}

// Sendmsg implements kernel.SocketOps: netlink_sendmsg (spec 8.1).
//
// Errors, in this order: EOPNOTSUPP for MSG_OOB; those of the credentials; EINVAL for an address of another family,
// EPERM without permission to send there; those of autobind; those of the TX ring; EMSGSIZE above sndbuf - 32; EFAULT;
// those of Unicast, also when the message went to a group.
func (sk *Sock) Sendmsg(cur *kernel.Task, f *kernel.File, m *kernel.Msghdr, flags int) (int, error) {
	if flags&uapi.MsgOOB != 0 {
		return 0, kernel.EOPNOTSUPP
	}
	creds, err := scmSend(cur, m.Control)
	if err != nil {
		return 0, err
	}
	dst, err := sk.destination(cur, m.Name)
	if err != nil {
		return 0, err
	}
	if !sk.isBound(cur) {
		if err := sk.nl.autobind(cur, sk); err != nil {
			return 0, err
		}
	}
	deadline := sk.deadline(cur, flags)
	if sk.usesTxRing(cur, m) {
		return sk.mmapSendmsg(cur, f, flags, dst, creds)
	}
	n := m.Len()
	if limit := int(sk.Sndbuf.Load(cur)) - 32; n > limit {
		return 0, kernel.Errorf(kernel.EMSGSIZE, "%d bytes, the send buffer allows %d", n, limit)
	}
	s := sk.nl.allocLarge(cur, n, dst.group != 0)
	if s == nil {
		return 0, kernel.ENOBUFS
	}
	if err := kernel.Gather(s.Append(n), m); err != nil {
		s.Free(cur)
		return 0, err
	}
	s.CB.Portid, s.CB.DstGroup, s.CB.Creds = sk.Portid(cur), dst.group, creds
	if dst.explicit {
		s.CB.flags |= skbDst
	}
	return sk.send(cur, s, dst, deadline)
}

// deadline is when a send stops waiting, 0 for not at all.
func (sk *Sock) deadline(cur *kernel.Task, flags int) kernel.Time {
	timeout := sk.SendTimeout(cur, flags)
	if timeout == 0 {
		return 0
	}
	return sk.K.Deadline(cur, timeout)
}

// send multicasts a message where it has a group, and in any case unicasts it.
func (sk *Sock) send(cur *kernel.Task, s *SKB, dst destination, deadline kernel.Time) (int, error) {
	if dst.group != 0 {
		// Nobody looks at the result: NETLINK_BROADCAST_ERROR does not concern messages of users.
		_ = sk.nl.Broadcast(cur, sk, s.Get(cur), dst.portid, dst.group)
	}
	return sk.nl.Unicast(cur, sk, s, dst.portid, deadline)
}

// destination reads the address of a call.
func (sk *Sock) destination(cur *kernel.Task, name []byte) (destination, error) {
	if len(name) == 0 {
		return destination{portid: uint32(sk.dstPortid.Load(cur)), group: uint32(sk.dstGroup.Load(cur))}, nil
	}
	a := uapi.ParseSockaddrNL(name)
	if a.Family != uapi.AFNetlink {
		return destination{}, kernel.Errorf(kernel.EINVAL, "address family %d", a.Family)
	}
	dst := destination{portid: a.Pid, group: lowestGroup(a.Groups), explicit: true}
	if (dst.group != 0 || dst.portid != 0) && !sk.allowed(cur, sk.cfg().NonrootSend) {
		return dst, kernel.Errorf(kernel.EPERM, "sending to groups or sockets of protocol %d needs CAP_NET_ADMIN", sk.Protocol)
	}
	return dst, nil
}

// scmSend makes the credentials of a message: the sender's process id and real ids, or what it claims in an
// SCM_CREDENTIALS message (scm_send, spec 8.2).
//
// Errors: EPERM for a claim that is not allowed, ESRCH for a process that does not exist, EINVAL for a malformed
// control message and for descriptors.
func scmSend(cur *kernel.Task, control []byte) (Creds, error) {
	c := cur.Cred()
	creds := Creds{Pid: cur.Tgid(), UID: c.UID, GID: c.GID}
	for len(control) > 0 {
		if len(control) < uapi.CmsgHdrlen {
			return creds, kernel.Errorf(kernel.EINVAL, "%d bytes are no control message", len(control))
		}
		n := binary.LittleEndian.Uint64(control)
		level := binary.LittleEndian.Uint32(control[8:])
		typ := binary.LittleEndian.Uint32(control[12:])
		if n < uapi.CmsgHdrlen || n > uint64(len(control)) {
			return creds, kernel.Errorf(kernel.EINVAL, "a control message of %d bytes in %d", n, len(control))
		}
		data := control[uapi.CmsgHdrlen:n]
		control = control[min(uint64(len(control)), (n+7)&^7):]
		switch {
		case level != uapi.SolSocket:
		case typ == uapi.ScmCredentials && len(data) == uapi.UcredLen:
			claim := Creds{Pid: int(int32(binary.LittleEndian.Uint32(data))),
				UID: binary.LittleEndian.Uint32(data[4:]), GID: binary.LittleEndian.Uint32(data[8:])}
			if err := checkCreds(cur, claim); err != nil {
				return creds, err
			}
			creds = claim
		default:
			return creds, kernel.Errorf(kernel.EINVAL, "control message %d of %d bytes", typ, len(data))
		}
	}
	return creds, nil
}

func checkCreds(cur *kernel.Task, claim Creds) error {
	c := cur.Cred()
	switch {
	case claim.Pid != cur.Tgid() && !c.Capable(uapi.CapSysAdmin):
		return kernel.Errorf(kernel.EPERM, "process id %d is not the sender's", claim.Pid)
	case claim.UID != c.UID && claim.UID != c.EUID && claim.UID != c.SUID && !c.Capable(uapi.CapSetuid):
		return kernel.Errorf(kernel.EPERM, "user id %d is not the sender's", claim.UID)
	case claim.GID != c.GID && claim.GID != c.EGID && claim.GID != c.SGID && !c.Capable(uapi.CapSetgid):
		return kernel.Errorf(kernel.EPERM, "group id %d is not the sender's", claim.GID)
	case !cur.Kernel().HasProcess(cur, claim.Pid):
		return kernel.ESRCH
	}
	return nil
}

// usesTxRing reports whether a send processes the TX ring (spec 8.3).
func (sk *Sock) usesTxRing(cur *kernel.Task, m *kernel.Msghdr) bool {
	if sk.nl.D.TxPathDead || len(m.Iov) == 0 || m.Iov[0].Base != nil || !sk.txRing.IsSet(cur) {
		return false
	}
	return len(m.Iov) == 1 || sk.nl.D.TxIovFirstOnly
}

// mmapSendmsg processes the frames of the TX ring from head on, up to the first that is not VALID or the first error:
// netlink_mmap_sendmsg (spec 8.4). It returns the sum of the lengths.
//
// Errors: EINVAL for a length beyond the frame, which stays; ENOBUFS; those of Unicast, when the frame has been
// consumed. What earlier frames of the call contributed is then lost from the result (tx-error-loses-progress).
func (sk *Sock) mmapSendmsg(cur *kernel.Task, file *kernel.File, flags int, dst destination, creds Creds) (int, error) {
	nl, ring := sk.nl, &sk.txRing
	deadline := sk.deadline(cur, flags)
	inPlace := nl.D.TxInPlace && dst.portid == 0 && dst.group == 0 && sk.exclusive(cur, file)
	sk.pgVecLock.Lock(cur)
	defer sk.pgVecLock.Unlock(cur)
	sum := 0
	for {
		f, valid := ring.Current(cur, uapi.NLMMapStatusValid)
		if !valid {
			emit(sk, cur, TxEndEvent{sk, f.Pos})
			if flags&uapi.MsgDontwait != 0 || ring.Pending.Load(cur) == 0 {
				return sum, nil
			}
			cur.Spin("mmapSendmsg: frames of the TX ring are pending")
			continue
		}
		n := f.Len(cur)
		if n > ring.Maxlen(cur) {
			return 0, kernel.Errorf(kernel.EINVAL, "TX frame %d has length %d, its room is %d", f.Pos, n, ring.Maxlen(cur))
		}
		var s *SKB
		if inPlace {
			s = sk.txInPlace(cur, f, n)
		} else {
			s = sk.txCopy(cur, f, n)
		}
		if s == nil {
			return 0, kernel.ENOBUFS
		}
		ring.Advance(cur)
		s.CB.Portid, s.CB.DstGroup, s.CB.Creds = sk.Portid(cur), dst.group, creds
		got, err := sk.send(cur, s, dst, deadline)
		if err != nil {
			return 0, err
		}
		sum += got
	}
}

// exclusive reports whether nobody else seems to have the socket's file or memory (spec 8.4.1).
func (sk *Sock) exclusive(cur *kernel.Task, f *kernel.File) bool {
	return f.Count(cur) <= 2 && sk.mapped.Load(cur) <= 1
}
