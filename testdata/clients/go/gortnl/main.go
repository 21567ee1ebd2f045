// gortnl links|addrs|routes|neighs|rules|get|change|monitor N: github.com/jsimonetti/rtnetlink.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/jsimonetti/rtnetlink/v2/rtnl"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func must(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// list prints messages with all that the library found in them.
func list[M any](ms []M, err error) {
	must(err)
	for _, m := range ms {
		show(m)
	}
}

func show(m any) {
	if a, ok := m.(rtnetlink.AddressMessage); ok {
		a.Attributes.CacheInfo = rtnetlink.CacheInfo{Preferred: a.Attributes.CacheInfo.Preferred, Valid: a.Attributes.CacheInfo.Valid}
		m = a
	}
	if n, ok := m.(rtnetlink.NeighMessage); ok {
		n.Attributes.CacheInfo = nil
		m = n
	}
	text, err := json.Marshal(m)
	must(err)
	fmt.Printf("%T %s\n", m, text)
}

func main() {
	groups := uint32(0)
	if os.Args[1] == "monitor" {
		groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_NEIGH | unix.RTMGRP_IPV4_RULE
	}
	c, err := rtnetlink.Dial(&netlink.Config{Groups: groups})
	must(err)
	defer c.Close()
	switch os.Args[1] {
	case "links":
		list(c.Link.List())
		list(c.Link.ListByKind("dummy"))
		list(c.Link.ListWithVFInfo())
		for _, i := range []uint32{1, 99} {
			l, err := c.Link.Get(i)
			fmt.Println(i, l.Attributes != nil, err)
		}
	case "addrs":
		list(c.Address.List())
	case "routes":
		list(c.Route.List())
	case "neighs":
		list(c.Neigh.List())
	case "rules":
		list(c.Rule.List())
	case "get":
		for _, dst := range []net.IP{{127, 0, 0, 1}, {10, 2, 3, 4}, {10, 1, 0, 1}, {192, 0, 2, 1}} {
			ms, err := c.Route.Get(&rtnetlink.RouteMessage{Family: unix.AF_INET, DstLength: 32, Attributes: rtnetlink.RouteAttributes{Dst: dst}})
			fmt.Println(dst, err)
			for i := range ms {
				if e := ms[i].Attributes.Expires; e != nil {
					*e = 0
				}
				show(ms[i])
			}
		}
	case "change":
		change(c)
	case "monitor":
		n, err := strconv.Atoi(os.Args[2])
		must(err)
		for n > 0 {
			ms, raw, err := c.Receive()
			must(err)
			for i, m := range ms {
				fmt.Printf("%d %T len=%d flags=%d\n", raw[i].Header.Type, m, raw[i].Header.Length, raw[i].Header.Flags)
				n--
			}
		}
	}
}

func change(c *rtnetlink.Conn) {
	fmt.Println("add", c.Link.New(&rtnetlink.LinkMessage{Type: unix.ARPHRD_ETHER, Attributes: &rtnetlink.LinkAttributes{Name: "go0", MTU: 1400,
		Address: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Info: &rtnetlink.LinkInfo{Kind: "dummy"}}}))
	fmt.Println("add again", c.Link.New(&rtnetlink.LinkMessage{Attributes: &rtnetlink.LinkAttributes{Name: "go0", Info: &rtnetlink.LinkInfo{Kind: "dummy"}}}))
	h, err := rtnl.Dial(nil)
	must(err)
	defer h.Close()
	links, err := h.Links()
	must(err)
	ifc := links[len(links)-1]
	fmt.Println(ifc.Name, ifc.HardwareAddr, ifc.Flags, ifc.MTU)
	fmt.Println("up", h.LinkUp(ifc), "hwaddr", h.LinkSetHardwareAddr(ifc, net.HardwareAddr{2, 0, 0, 0, 0, 10}))
	addr := &net.IPNet{IP: net.IP{10, 9, 0, 1}, Mask: net.CIDRMask(24, 32)}
	fmt.Println("addr", h.AddrAdd(ifc, addr), "again", h.AddrAdd(ifc, addr))
	fmt.Println(h.Addrs(ifc, unix.AF_INET))
	dst := net.IPNet{IP: net.IP{10, 10, 0, 0}, Mask: net.CIDRMask(16, 32)}
	fmt.Println("route", h.RouteAdd(ifc, dst, net.IP{10, 9, 0, 2}), "again", h.RouteAdd(ifc, dst, net.IP{10, 9, 0, 2}), "replace", h.RouteReplace(ifc, dst, net.IP{10, 9, 0, 3}))
	r, err := h.RouteGet(net.IP{10, 10, 1, 1})
	must(err)
	fmt.Println(r.Gateway, r.Interface.Name)
	fmt.Println("neigh", c.Neigh.New(&rtnetlink.NeighMessage{Family: unix.AF_INET, Index: uint32(ifc.Index), State: unix.NUD_PERMANENT,
		Attributes: &rtnetlink.NeighAttributes{Address: net.IP{10, 9, 0, 2}, LLAddress: net.HardwareAddr{2, 0, 0, 0, 0, 11}}}))
	ns, err := h.Neighbours(ifc, unix.AF_INET)
	for _, n := range ns {
		fmt.Println(n.HwAddr, n.IP)
	}
	fmt.Println(err)
	src, table, pref := net.IP{10, 5, 0, 0}, uint32(7), uint32(100)
	rule := &rtnetlink.RuleMessage{Family: unix.AF_INET, SrcLength: 16, Action: unix.FR_ACT_TO_TBL, Table: 7, Attributes: &rtnetlink.RuleAttributes{Src: &src, Table: &table, Priority: &pref}}
	fmt.Println("rule", c.Rule.Add(rule), "again", c.Rule.Add(rule))
	list(c.Rule.List())
	fmt.Println("rule", c.Rule.Delete(rule), "again", c.Rule.Delete(rule))
	fmt.Println("route", h.RouteDel(ifc, dst), "again", h.RouteDel(ifc, dst))
	fmt.Println("addr", h.AddrDel(ifc, addr))
	fmt.Println("down", h.LinkDown(ifc), "del", c.Link.Delete(uint32(ifc.Index)), "again", c.Link.Delete(uint32(ifc.Index)))
}
