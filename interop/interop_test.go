package interop_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"nlmmap/explore"
	"nlmmap/interop"
	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/sys"
	"nlmmap/uapi"
)

// boot boots a machine with one process.
func boot(release kernel.Release) (*kernel.Kernel, sys.Task, error) {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: release}})
	if err != nil {
		return nil, nil, err
	}
	if _, err := subsys.Register(k); err != nil {
		return nil, nil, err
	}
	return k, k.NewProcess("main", k.NewNet()), nil
}

// The links of a 3.10.4 kernel, asked for with a published library, and what that kernel does not know.
func Example() {
	k, task, err := boot(kernel.Linux3_10)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := interop.Dial(task, uapi.NetlinkRoute, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	msgs, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(uapi.RTMGetlink), Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, 16),
	})
	fmt.Println(len(msgs), "link", err)
	fmt.Println(c.SetOption(netlink.CapAcknowledge, true))

	// The clock is the machine's: this takes no time.
	fmt.Println(c.SetReadDeadline(interop.Now(task).Add(time.Hour)))
	_, err = c.Receive()
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded), interop.Now(task).Sub(interop.Epoch))
	fmt.Println(c.Close(), k.Close())
	// Output:
	// 1 link <nil>
	// netlink set-option: setsockopt: protocol not available: this kernel has no SOL_NETLINK option 10
	// <nil>
	// true 1h0m0s
	// <nil> <nil>
}

// TestGenetlink: a library that stands on a netlink.Conn runs as it is.
func TestGenetlink(t *testing.T) {
	for _, release := range kernel.Releases() {
		k, task, err := boot(release)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := interop.Dial(task, uapi.NetlinkGeneric, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := genetlink.NewConn(conn)
		f, err := c.GetFamily("nlctrl")
		if err != nil || f.ID != 16 || len(f.Groups) != 1 || f.Groups[0].Name != "notify" {
			t.Errorf("%v: nlctrl is %+v, %v", release, f, err)
		}
		if _, err := c.GetFamily("none"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v: a family that is not there: %v", release, err)
		}
		if err := errors.Join(c.Close(), k.Close()); err != nil {
			t.Error(err)
		}
	}
}

// A published library on a machine of 2013, without a process: it finds a family of generic netlink by its name.
func Example_genetlink() {
	k, task, err := boot(kernel.Linux3_10)
	if err != nil {
		panic(err)
	}
	conn, err := interop.Dial(task, uapi.NetlinkGeneric, nil)
	if err != nil {
		panic(err)
	}
	c := genetlink.NewConn(conn)
	f, err := c.GetFamily("tcp_metrics")
	fmt.Println(f.ID, f.Version, f.Name, err)
	fmt.Println(c.Close(), k.Close())
	// Output:
	// 17 1 tcp_metrics <nil>
	// <nil> <nil>
}

// TestGenetlinkSchedules: two goroutines, each with a genetlink.Conn, for a family each. Under all schedules each gets
// the one that it has asked for.
func TestGenetlinkSchedules(t *testing.T) {
	explore.Test(t, func(w *explore.World) {
		for _, name := range []string{"nlctrl", "tcp_metrics"} {
			task := w.Process(name)
			conn, err := interop.Dial(task, uapi.NetlinkGeneric, nil)
			w.Must(err)
			c := genetlink.NewConn(conn)
			w.Go(task, func(sys.Task) {
				f, err := c.GetFamily(name)
				w.Must(err)
				w.Assert(f.Name == name, "asked for %s, and got %s", name, f.Name)
			})
		}
	}, explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Complete: true})
}

// noop is a request that is acknowledged and does nothing.
var noop = netlink.Message{Header: netlink.Header{Type: netlink.Noop, Flags: netlink.Request | netlink.Acknowledge}}

// TestSame: two runs are the same to the byte, though the library numbers its requests at random.
func TestSame(t *testing.T) {
	var traces [2]string
	for i := range traces {
		k, err := kernel.Boot(kernel.Config{Trace: func(r kernel.Record) { traces[i] += fmt.Sprintln(r.Time, r.Event) }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := subsys.Register(k); err != nil {
			t.Fatal(err)
		}
		c, err := interop.Dial(k.NewProcess("main", k.NewNet()), uapi.NetlinkRoute, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := c.Execute(noop); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(c.Close(), k.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if traces[0] != traces[1] || traces[0] == "" {
		t.Errorf("the runs differ:\n%s\n%s", traces[0], traces[1])
	}
}

// two is a program: two goroutines, each with a connection of the library, make requests at the same time.
func two(request func(w *explore.World, c *netlink.Conn)) func(w *explore.World) {
	return func(w *explore.World) {
		for _, name := range []string{"one", "other"} {
			task := w.Process(name)
			c, err := interop.Dial(task, uapi.NetlinkRoute, nil)
			w.Must(err)
			w.Go(task, func(sys.Task) { request(w, c) })
		}
	}
}

// TestSchedules: under all schedules each of two connections gets the answer to its own request.
func TestSchedules(t *testing.T) {
	explore.Test(t, two(func(w *explore.World, c *netlink.Conn) {
		_, err := c.Execute(noop)
		w.Must(err)
	}), explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Complete: true})
}

// TestSharedName: two goroutines that make a device of the same name. Under no schedule do both succeed, and one does.
func TestSharedName(t *testing.T) {
	link := make([]byte, 16)
	link = append(link, 9, 0, 3, 0, 'd', 'e', 'v', '0', 0, 0, 0, 0) // IFLA_IFNAME
	link = append(link, 16, 0, 18, 0, 10, 0, 1, 0, 'd', 'u', 'm', 'm', 'y', 0, 0, 0)
	explore.Test(t, func(w *explore.World) {
		made, ended := 0, 0
		two(func(w *explore.World, c *netlink.Conn) {
			const createExcl = 0x600
			_, err := c.Execute(netlink.Message{Data: link, Header: netlink.Header{Type: netlink.HeaderType(uapi.RTMNewlink),
				Flags: netlink.Request | netlink.Acknowledge | createExcl}})
			switch {
			case err == nil:
				made++
			case !errors.Is(err, os.ErrExist):
				w.Must(err)
			}
			if ended++; ended == 2 {
				w.Assert(made == 1, "%d devices of one name were made", made)
			}
		})(w)
	}, explore.Options{Version: kernel.Version{Release: kernel.Linux4_4}, Runs: 3000})
}

// TestGroups: a member of a group hears what another connection has changed.
func TestGroups(t *testing.T) {
	k, task, err := boot(kernel.Linux4_4)
	if err != nil {
		t.Fatal(err)
	}
	monitor, err := interop.Dial(task, uapi.NetlinkRoute, &netlink.Config{Groups: 1})
	if err != nil {
		t.Fatal(err)
	}
	c, err := interop.Dial(task, uapi.NetlinkRoute, nil)
	if err != nil {
		t.Fatal(err)
	}
	up := make([]byte, 16)
	for _, at := range []int{4, 8, 12} { // index, flags, change
		binary.NativeEndian.PutUint32(up[at:], 1)
	}
	if _, err := c.Execute(netlink.Message{Data: up, Header: netlink.Header{Type: netlink.HeaderType(uapi.RTMNewlink),
		Flags: netlink.Request | netlink.Acknowledge}}); err != nil {
		t.Fatal(err)
	}
	msgs, err := monitor.Receive()
	if err != nil || len(msgs) != 1 || int(msgs[0].Header.Type) != uapi.RTMNewlink {
		t.Errorf("the monitor hears %v, %v", msgs, err)
	}
	if err := errors.Join(monitor.JoinGroup(5), monitor.LeaveGroup(5), monitor.SetReadBuffer(4096), monitor.RemoveBPF()); err == nil || !errors.Is(err, sys.ENOENT) {
		t.Errorf("no filter was there to remove, and the error is %v", err)
	}
	if err := errors.Join(monitor.Close(), c.Close(), k.Close()); err != nil {
		t.Error(err)
	}
}
