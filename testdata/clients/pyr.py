#!/usr/bin/python3
"""pyr.py links|addrs|routes|neighs|rules|change|ndb|genl|monitor N|errors: pyroute2."""
import logging
import socket
import sys

import pyroute2
from pyroute2 import IPRoute, NetlinkError

# What says when, and how often, or where a thing is.
VARYING = {"IFA_CACHEINFO", "NDA_CACHEINFO", "RTA_CACHEINFO", "IFLA_INET6_CACHEINFO", "IFLA_STATS", "IFLA_STATS64", "NDTA_CONFIG", "NDTA_STATS",
           "NDTPA_REACHABLE_TIME"}


def plain(v):
    """plain is a value of a message without what varies."""
    if hasattr(v, "get") and "attrs" in v:
        fields = {k: plain(x) for k, x in v.items() if k not in ("attrs", "header", "event", "target", "__align")}
        attrs = [(a[0], plain(a[1])) for a in v["attrs"] if a[0] not in VARYING]
        return fields, attrs
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items() if k not in ("header", "__align")}
    return v


def show(messages):
    for m in messages:
        print(m.get("event"), *plain(m))


def call(what, f, *args, **kwargs):
    try:
        r = f(*args, **kwargs)
        print(what, [m.get("event") for m in r] if isinstance(r, (list, tuple)) else r)
    except NetlinkError as e:
        print(what, e.code, e.args[1] if len(e.args) > 1 else "")


def change(ip):
    call("add", ip.link, "add", ifname="py0", kind="dummy", address="02:00:00:00:00:09", mtu=1400)
    call("add", ip.link, "add", ifname="py0", kind="dummy")
    index = ip.link_lookup(ifname="py0")[0]
    call("up", ip.link, "set", index=index, state="up")
    call("mtu", ip.link, "set", index=index, mtu=1300)
    call("addr", ip.addr, "add", index=index, address="10.9.0.1", prefixlen=24)
    call("addr", ip.addr, "add", index=index, address="10.9.0.1", prefixlen=24)
    call("route", ip.route, "add", dst="10.10.0.0/16", gateway="10.9.0.2")
    call("route", ip.route, "add", dst="10.10.0.0/16", gateway="10.9.0.2")
    call("replace", ip.route, "replace", dst="10.10.0.0/16", gateway="10.9.0.3")
    call("unreachable", ip.route, "add", dst="10.11.0.0/16", gateway="172.16.0.1")
    call("neigh", ip.neigh, "add", dst="10.9.0.4", lladdr="02:00:00:00:00:04", ifindex=index, state=0x80)
    call("rule", ip.rule, "add", src="10.5.0.0/16", table=7, priority=100)
    call("rule", ip.rule, "add", src="10.5.0.0/16", table=7, priority=100)
    show(ip.get_links(index))
    show(ip.get_addr(index=index))
    show(ip.get_routes(family=socket.AF_INET, table=254))
    show(ip.get_neighbours(family=socket.AF_INET, ifindex=index))
    show(ip.get_rules(family=socket.AF_INET))
    show(ip.route("get", dst="10.10.1.1"))
    call("rule", ip.rule, "del", priority=100)
    call("neigh", ip.neigh, "del", dst="10.9.0.4", ifindex=index)
    call("route", ip.route, "del", dst="10.10.0.0/16")
    call("route", ip.route, "del", dst="10.10.0.0/16")
    call("flush", ip.flush_addr, index=index)
    call("del", ip.link, "del", index=index)
    call("del", ip.link, "del", index=index)


def main():
    what = sys.argv[1]
    if what == "genl":
        from pyroute2.netlink import genlmsg  # noqa: F401
        from pyroute2.netlink.generic import GenericNetlinkSocket
        g = GenericNetlinkSocket()
        for name in sys.argv[2:]:
            try:
                g.bind(name, genlmsg)
                print(name, g.prid, sorted(g.mcast_groups.items()))
            except Exception as e:
                print(name, type(e).__name__, e)
        g.close()
        return
    if what == "ndb":
        logging.disable(logging.CRITICAL)
        with pyroute2.NDB() as ndb:
            print([(i.ifname, i.index, i.kind, i.mtu, i.state) for i in ndb.interfaces.dump()])
            print([(a.address, a.prefixlen, a.index) for a in ndb.addresses.dump()])
            with ndb.interfaces.create(ifname="py0", kind="dummy") as i:
                i.set("state", "up").add_ip("10.9.0.1/24")
            print([(r.dst, r.dst_len, r.gateway) for r in ndb.routes.dump()])
            ndb.interfaces["py0"].remove().commit()
            print([i.ifname for i in ndb.interfaces.dump()])
        return
    with IPRoute() as ip:
        if what == "links":
            show(ip.get_links())
        elif what == "addrs":
            show(ip.get_addr())
        elif what == "routes":
            show(ip.get_routes())
        elif what == "neighs":
            show(ip.get_neighbours())
            show(ip.get_ntables())
        elif what == "rules":
            show(ip.get_rules())
        elif what == "change":
            change(ip)
        elif what == "errors":
            call("link", ip.link, "del", index=99)
            call("link", ip.link, "add", ifname="x", kind="nonesuch")
            call("addr", ip.addr, "del", index=1, address="10.99.0.1", prefixlen=24)
            call("route", ip.route, "add", dst="10.10.0.0/16", oif=99)
            call("get", ip.route, "get", dst="192.0.2.1")
            call("neigh", ip.neigh, "del", dst="10.9.0.4", ifindex=1)
            call("rule", ip.rule, "del", priority=4711)
            call("tc", ip.get_qdiscs)
            call("qdisc", ip.tc, "add", "pfifo", 1, "1:")
            call("vlan", ip.get_vlans)
            call("netconf", ip.get_netconf) if hasattr(ip, "get_netconf") else None
        elif what == "monitor":
            ip.bind()
            left = int(sys.argv[2])
            while left > 0:
                ms = ip.get()
                show(ms)
                left -= len(ms)
            sys.stdout.flush()


main()
