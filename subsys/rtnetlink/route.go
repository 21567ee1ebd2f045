package rtnetlink

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/uapi"
)

// Types and scopes of routes that only requests name.
const (
	rtnBlackhole = 6
	rtnMax       = 11
	scopeNowhere = 255
)

// by is who asks, as the notification of a change names them.
func (q *request) by() inet.Cause {
	return inet.Cause{Portid: q.m.SKB.CB.Portid, Seq: q.h.Seq, Echo: q.h.Flags&uapi.NLMFEcho != 0}
}

// routeRequest reads NEWROUTE and DELROUTE: rtm_to_fib_config. EINVAL for a prefix or a type that does not exist.
func routeRequest(q *request) (rt inet.Route, err error) {
	p := q.payload
	rt = inet.Route{TOS: p[3], Table: p[4], Protocol: p[5], Scope: p[6], Type: p[7]}
	dst := netip.IPv4Unspecified()
	for a := range uapi.WellFormed(uapi.Attrs(p, rtmsgLen)) {
		switch {
		case a.Type == rtaDst && len(a.Data) >= 4:
			dst = netip.AddrFrom4([4]byte(a.Data))
		case a.Type == rtaOif && len(a.Data) >= 4:
			rt.Dev = int(int32(binary.LittleEndian.Uint32(a.Data)))
		case a.Type == rtaPriority && len(a.Data) >= 4:
			rt.Priority = binary.LittleEndian.Uint32(a.Data)
		case a.Type == rtaPrefsrc && len(a.Data) >= 4:
			rt.PrefSrc = netip.AddrFrom4([4]byte(a.Data))
		case a.Type == rtaGateway && len(a.Data) >= 4:
			rt.Gateway = netip.AddrFrom4([4]byte(a.Data))
		}
	}
	if p[1] > 32 || rt.Type > rtnMax {
		return rt, kernel.Errorf(kernel.EINVAL, "a route of type %d to %d bits", rt.Type, p[1])
	}
	rt.Dst = netip.PrefixFrom(dst, int(p[1]))
	return rt, nil
}

// newRoute is inet_rtm_newroute for routes without gateway: beside the errors of the request EINVAL for bits behind the
// prefix, ENODEV where a route needs a device and there is none, ENETDOWN, ENOENT when a route is not to be made, EEXIST.
func (r *Rtnetlink) newRoute(cur *kernel.Task, q *request) error {
	rt, err := routeRequest(q)
	switch {
	case err != nil:
		return err
	case rt.Type == 0 || rt.Dst.Masked() != rt.Dst:
		return kernel.Errorf(kernel.EINVAL, "a route of type %d to %v", rt.Type, rt.Dst)
	case rt.Gateway.IsValid():
		return kernel.Errorf(inet.ENETUNREACH, "routes with gateways are not modelled")
	}
	if rt.Table == 0 {
		rt.Table = inet.TableMain
	}
	stack := q.stack(r)
	if rt.Type < rtnBlackhole {
		d, ok := stack.Device(cur, rt.Dev)
		switch {
		case !ok:
			return kernel.Errorf(kernel.ENODEV, "no device %d", rt.Dev)
		case !d.Up:
			return kernel.Errorf(unix.ENETDOWN, "%s is down", d.Name)
		}
	} else {
		rt.Dev = 0
	}
	if q.h.Flags&uapi.NLMFCreate == 0 {
		same := func(o inet.Route) bool {
			return o.Table == rt.Table && o.Dst == rt.Dst && o.TOS == rt.TOS && o.Priority == rt.Priority
		}
		if !stack.HasRoute(cur, same) {
			return kernel.Errorf(kernel.ENOENT, "no route to %v", rt.Dst)
		}
	}
	return stack.AddRoute(cur, rt, q.by())
}

// delRoute is inet_rtm_delroute: ESRCH when no route has the destination and all else that the request names.
func (r *Rtnetlink) delRoute(cur *kernel.Task, q *request) error {
	rt, err := routeRequest(q)
	if err != nil {
		return err
	}
	if rt.Table == 0 {
		rt.Table = inet.TableMain
	}
	return q.stack(r).DelRoute(cur, func(o inet.Route) bool {
		return o.Table == rt.Table && o.Dst == rt.Dst && o.TOS == rt.TOS &&
			(rt.Type == 0 || rt.Type == o.Type) &&
			(rt.Scope == scopeNowhere || rt.Scope == o.Scope) &&
			(rt.Protocol == 0 || rt.Protocol == o.Protocol) &&
			(rt.Priority == 0 || rt.Priority == o.Priority) &&
			(rt.Dev == 0 || rt.Dev == o.Dev) &&
			(!rt.PrefSrc.IsValid() || rt.PrefSrc == o.PrefSrc)
	}, q.by())
}
