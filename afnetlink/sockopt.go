package afnetlink

import (
	"encoding/binary"

	"nlmmap/kernel"
	"nlmmap/uapi"
)

// Setsockopt implements kernel.SocketOps: netlink_setsockopt (spec 2.1).
func (sk *Sock) Setsockopt(cur *kernel.Task, level, name int, val []byte) error {
	switch level {
	case uapi.SolSocket:
		return sk.Sock.Setsockopt(cur, name, val)
	case uapi.SolNetlink:
	default:
		return kernel.Errorf(kernel.ENOPROTOOPT, "level %d", level)
	}
	// A value that is too short counts as 0, without an error.
	var v uint32
	if len(val) >= 4 {
		v = binary.LittleEndian.Uint32(val)
	}
	switch {
	case !sk.nl.hasOption(name):
		return kernel.Errorf(kernel.ENOPROTOOPT, "this kernel has no SOL_NETLINK option %d", name)
	case name == uapi.NetlinkAddMembership || name == uapi.NetlinkDropMembership:
		return sk.changeMembership(cur, v, name == uapi.NetlinkAddMembership)
	case name == uapi.NetlinkPktinfo:
		sk.setFlag(cur, flagRecvPktinfo, v != 0)
	case name == uapi.NetlinkBroadcastError:
		sk.setFlag(cur, flagBroadcastError, v != 0)
	case name == uapi.NetlinkNoENOBUFS:
		sk.setFlag(cur, flagNoENOBUFS, v != 0)
		if v != 0 {
			sk.congested.Store(cur, 0)
			sk.wait.Wake(cur, 0)
		}
	case name == uapi.NetlinkRxRing || name == uapi.NetlinkTxRing:
		if !cur.Capable(uapi.CapNetAdmin) {
			return kernel.Errorf(kernel.EPERM, "rings need CAP_NET_ADMIN in the initial user namespace")
		}
		if len(val) < uapi.NLMMapReqlen {
			return kernel.Errorf(kernel.EINVAL, "the request has %d bytes and not 16", len(val))
		}
		return sk.setRing(cur, uapi.ParseNLMMapReq(val), name == uapi.NetlinkTxRing)
	case name == uapi.NetlinkListenAllNSID:
		if !cur.NetCapable(sk.Net, uapi.CapNetBroadcast) {
			return kernel.Errorf(kernel.EPERM, "messages of other namespaces need CAP_NET_BROADCAST")
		}
		sk.setFlag(cur, flagListenAllNSID, v != 0)
	case name == uapi.NetlinkCapAck:
		sk.setFlag(cur, flagCapAck, v != 0)
	default:
		return kernel.Errorf(kernel.ENOPROTOOPT, "SOL_NETLINK option %d cannot be set", name)
	}
	return nil
}

// hasOption reports whether the kernel has an option of level SOL_NETLINK, as far as that depends on the kernel.
func (nl *Netlink) hasOption(name int) bool {
	switch name {
	case uapi.NetlinkListenAllNSID, uapi.NetlinkListMemberships, uapi.NetlinkCapAck:
		return nl.D.Opts8To10
	}
	return true
}

// Getsockopt implements kernel.SocketOps: netlink_getsockopt. The ring options cannot be read in any version.
func (sk *Sock) Getsockopt(cur *kernel.Task, level, name, optlen int) ([]byte, error) {
	switch level {
	case uapi.SolSocket:
		return sk.Sock.Getsockopt(cur, name, optlen)
	case uapi.SolNetlink:
	default:
		return nil, kernel.Errorf(kernel.ENOPROTOOPT, "level %d", level)
	}
	var f flag
	switch {
	case !sk.nl.hasOption(name):
		return nil, kernel.Errorf(kernel.ENOPROTOOPT, "this kernel has no SOL_NETLINK option %d", name)
	case name == uapi.NetlinkPktinfo:
		f = flagRecvPktinfo
	case name == uapi.NetlinkBroadcastError:
		f = flagBroadcastError
	case name == uapi.NetlinkNoENOBUFS:
		f = flagNoENOBUFS
	case name == uapi.NetlinkCapAck:
		f = flagCapAck
	case name == uapi.NetlinkListMemberships:
		var b []byte
		for _, w := range sk.Groups(cur) {
			if len(b)+4 <= optlen {
				b = binary.LittleEndian.AppendUint32(b, w)
			}
		}
		return b, nil
	default:
		return nil, kernel.Errorf(kernel.ENOPROTOOPT, "SOL_NETLINK option %d cannot be read", name)
	}
	if optlen < 4 {
		return nil, kernel.Errorf(kernel.EINVAL, "the option needs 4 bytes, got %d", optlen)
	}
	var v uint32
	if sk.has(cur, f) {
		v = 1
	}
	return binary.LittleEndian.AppendUint32(nil, v), nil
}
