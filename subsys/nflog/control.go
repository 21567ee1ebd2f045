package nflog

import (
	"encoding/binary"

	"nlmmap/kernel"
	"nlmmap/subsys/nfnetlink"
	"nlmmap/uapi"
)

// Message numbers.
const (
	msgPacket = iota
	msgConfig
)

func (f *NFLog) subsystem() *nfnetlink.Subsystem {
	policy := []int{uapi.NFULACfgCmd: 1, uapi.NFULACfgMode: 6, uapi.NFULACfgNlbufsiz: 4, uapi.NFULACfgTimeout: 4,
		uapi.NFULACfgQthresh: 4, uapi.NFULACfgFlags: 2}
	return &nfnetlink.Subsystem{Name: "log", ID: nfnetlink.SubsysULog, Handlers: []nfnetlink.Handler{
		msgPacket: {Call: func(*kernel.Task, *nfnetlink.Request) error { return kernel.ENOTSUPP }},
		msgConfig: {Call: f.config, Policy: policy},
	}}
}

// config makes, changes and removes groups: nfulnl_recv_config.
//
// Errors, in this order: EPERM for the group of somebody else; EOPNOTSUPP for flags that are not supported; EBUSY when
// a group to make exists; ENODEV when there is none; ENOTSUPP for another command.
func (f *NFLog) config(cur *kernel.Task, r *nfnetlink.Request) error {
	cmd := r.Cmd()
	if cmd == nfnetlink.CmdPFBind || cmd == nfnetlink.CmdPFUnbind {
		return nil
	}
	gs := f.groups(r.Net())
	g := gs.Lookup(cur, r.ResID)
	if g != nil && g.portid != r.Portid() {
		return kernel.Errorf(kernel.EPERM, "group %d is that of portid %d", g.num, g.portid)
	}
	var flags uint16
	if b := r.Attr(uapi.NFULACfgFlags); b != nil {
		flags = binary.BigEndian.Uint16(b)
	}
	if f.D.CfgNodev {
		switch {
		case flags&FlagConntrack != 0:
			return kernel.Errorf(kernel.EOPNOTSUPP, "flags %#x", flags)
		case cmd == nfnetlink.NoCmd && g == nil:
			return kernel.Errorf(kernel.ENODEV, "no group %d", r.ResID)
		}
	}
	var result error
	switch cmd {
	case nfnetlink.NoCmd:
	case nfnetlink.CmdBind:
		if g != nil {
			return kernel.Errorf(kernel.EBUSY, "group %d exists", g.num)
		}
		var err error
		if g, err = f.create(cur, r.Net(), r.ResID, r.Portid()); err != nil {
			return err
		}
	case nfnetlink.CmdUnbind:
		if g == nil {
			return kernel.Errorf(kernel.ENODEV, "no group %d", r.ResID)
		}
		f.destroy(cur, r.Net(), func(o *group) bool { return o == g })
		return nil
	default:
		result = kernel.Errorf(kernel.ENOTSUPP, "command %d", cmd)
		if f.D.CfgStrict {
			return result
		}
	}
	for _, attr := range []int{uapi.NFULACfgMode, uapi.NFULACfgNlbufsiz, uapi.NFULACfgTimeout,
		uapi.NFULACfgQthresh, uapi.NFULACfgFlags} {
		if r.Attr(attr) != nil && g == nil {
			return kernel.Errorf(kernel.ENODEV, "no group %d", r.ResID)
		}
	}
	if g != nil {
		g.configure(cur, r, flags)
	}
	return result
}

// configure applies the attributes of a CONFIG message. Modes that do not exist, and buffer sizes outside the bounds,
// are ignored.
func (g *group) configure(cur *kernel.Task, r *nfnetlink.Request, flags uint16) {
	g.lock.Lock(cur)
	defer g.lock.Unlock(cur)
	in := g.inside.Of(cur)
	if b := r.Attr(uapi.NFULACfgMode); b != nil {
		in.setMode(binary.BigEndian.Uint32(b), b[4])
	}
	if v, ok := r.Uint32(uapi.NFULACfgNlbufsiz); ok && v >= minBufsiz && v <= maxBufsiz {
		in.nlbufsiz = v
	}
	if v, ok := r.Uint32(uapi.NFULACfgTimeout); ok {
		in.timeout = v
	}
	if v, ok := r.Uint32(uapi.NFULACfgQthresh); ok {
		in.threshold = v
	}
	if r.Attr(uapi.NFULACfgFlags) != nil {
		in.flags = flags
	}
}

// setMode is nfulnl_set_mode. A range of 0 is the whole packet.
func (in *contents) setMode(crange uint32, mode uint8) {
	switch mode {
	case CopyNone, CopyMeta:
		in.mode, in.crange = mode, 0
	case CopyPacket:
		if crange == 0 || crange > maxRange {
			crange = maxRange
		}
		in.mode, in.crange = mode, crange
	}
}
