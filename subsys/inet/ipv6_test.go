package inet_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/subsys/inet"
)

// TestRoutes6: IPv6 routes come in the order of the kernel's tree, a network behind what is in it; addresses bring routes with them
// and take them away.
func TestRoutes6(t *testing.T) {
	k, err := kernel.Boot(kernel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	system, err := subsys.Register(k)
	if err != nil {
		t.Fatal(err)
	}
	cur, stack := k.KernelTask("test"), system.Inet(k.NewNet())
	d, err := stack.AddDevice(cur, inet.KindDummy, "")
	if err == nil {
		err = stack.SetUp(cur, d.Index, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	own := netip.MustParsePrefix("2001:db8::1/64")
	add := func(dst, gateway string, flags uint16) error {
		r := inet.Route{Dst: netip.MustParsePrefix(dst), Type: inet.RTNUnicast, Dev: d.Index}
		if gateway != "" {
			r.Gateway, r.Dev = netip.MustParseAddr(gateway), 0
		}
		return stack.AddRoute6(cur, inet.Cause{}, r, flags)
	}
	for _, step := range []struct {
		err, want error
	}{
		{stack.AddAddr6(cur, inet.Addr{Prefix: own, Dev: d.Index}), nil},
		{stack.AddAddr6(cur, inet.Addr{Prefix: own, Dev: d.Index}), kernel.EEXIST},
		{stack.AddAddr6(cur, inet.Addr{Prefix: netip.MustParsePrefix("::1/128"), Dev: d.Index}), inet.EADDRNOTAVAIL},
		{add("2001:db8:1::/48", "2001:db8::5", inet.RouteCreate), nil},
		{add("2001:db8:1::/48", "2001:db8::5", inet.RouteCreate|inet.RouteExcl), kernel.EEXIST},
		{add("2001:db8:1:2::/64", "", inet.RouteCreate), nil},
		{add("2001:db8:2::/48", "2001:db9::5", inet.RouteCreate), inet.EHOSTUNREACH},
		{add("2001:db8:3::/48", "", inet.RouteReplace), kernel.ENOENT},
		{stack.DelRoute6(cur, inet.Cause{}, inet.Route{Dst: netip.MustParsePrefix("2001:db8:3::/48")}), kernel.ESRCH},
		{stack.DelRoute6(cur, inet.Cause{}, inet.Route{Dst: netip.MustParsePrefix("::/0")}), kernel.ENOENT},
	} {
		if !errors.Is(step.err, step.want) {
			t.Errorf("%v, not %v", step.err, step.want)
		}
	}
	show := func() (list []string) {
		for _, r := range stack.IPv6Routes(cur, 0, 100) {
			list = append(list, r.Dst.String())
		}
		return list
	}
	const before = "[2001:db8::1/128 2001:db8::/64 2001:db8:1:2::/64 2001:db8:1::/48 fe80::ff:fe00:2/128 fe80::/64 ff00::/8]"
	if got := fmt.Sprint(show()); got != before {
		t.Errorf("the routes are\n%s, not\n%s", got, before)
	}
	if err := stack.DelAddr6(cur, d.Index, own); err != nil {
		t.Error(err)
	}
	const after = "[2001:db8:1:2::/64 2001:db8:1::/48 fe80::ff:fe00:2/128 fe80::/64 ff00::/8]"
	if got := fmt.Sprint(show()); got != after {
		t.Errorf("without the address the routes are\n%s, not\n%s", got, after)
	}
	if err := stack.SetUp(cur, d.Index, false); err != nil {
		t.Error(err)
	}
	if got := show(); len(got) != 0 {
		t.Errorf("with the device down there are %v", got)
	}
}
