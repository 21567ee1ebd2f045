// gogenl families|family NAME|group NAME|errors|filter: github.com/mdlayher/genetlink.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
)

func must(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func main() {
	c, err := genetlink.Dial(nil)
	must(err)
	defer c.Close()
	switch os.Args[1] {
	case "families":
		families, err := c.ListFamilies()
		must(err)
		for _, f := range families {
			fmt.Println(f.ID, f.Version, f.Name, f.Groups)
		}
	case "family":
		for _, name := range os.Args[2:] {
			f, err := c.GetFamily(name)
			fmt.Printf("%+v %v\n", f, err)
		}
	case "group":
		f, err := c.GetFamily(os.Args[2])
		must(err)
		for _, g := range f.Groups {
			fmt.Println(g.Name, "join", c.JoinGroup(g.ID), "leave", c.LeaveGroup(g.ID))
		}
		fmt.Println("none: join", c.JoinGroup(1<<20), "leave", c.LeaveGroup(1<<20))
	case "errors":
		request := netlink.Request | netlink.Acknowledge
		for _, r := range []struct {
			what   string
			m      genetlink.Message
			family uint16
			flags  netlink.HeaderFlags
		}{
			{"no such family", genetlink.Message{Header: genetlink.Header{Command: 1, Version: 1}}, 999, request},
			{"no such command", genetlink.Message{Header: genetlink.Header{Command: 99, Version: 1}}, 16, request},
			{"nothing asked", genetlink.Message{Header: genetlink.Header{Command: 3, Version: 1}}, 16, request},
			{"a name without end", genetlink.Message{Header: genetlink.Header{Command: 3, Version: 1}, Data: []byte{6, 0, 2, 0, 'n', 'l', 0, 0}}, 16, request},
			{"an id", genetlink.Message{Header: genetlink.Header{Command: 3, Version: 1}, Data: []byte{6, 0, 1, 0, 16, 0, 0, 0}}, 16, request},
			{"an id that is short", genetlink.Message{Header: genetlink.Header{Command: 3, Version: 1}, Data: []byte{5, 0, 1, 0, 16, 0, 0, 0}}, 16, request},
			{"an old version", genetlink.Message{Header: genetlink.Header{Command: 3, Version: 9}, Data: []byte{6, 0, 1, 0, 16, 0, 0, 0}}, 16, request},
			{"a dump of what has none", genetlink.Message{Header: genetlink.Header{Command: 1, Version: 1}}, 16, request | netlink.Dump},
		} {
			answers, err := c.Execute(r.m, r.family, r.flags)
			fmt.Println(r.what+":", len(answers), err)
			for _, a := range answers {
				fmt.Println(" ", a.Header.Command, a.Header.Version, len(a.Data))
			}
		}
	case "filter":
		raw := func(ins ...bpf.Instruction) []bpf.RawInstruction {
			r, err := bpf.Assemble(ins)
			must(err)
			return r
		}
		fmt.Println("remove", c.RemoveBPF())
		fmt.Println("set", c.SetBPF(raw(bpf.RetConstant{Val: 0})))
		must(c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)))
		_, err := c.GetFamily("nlctrl")
		fmt.Println("get", err)
		fmt.Println("remove", c.RemoveBPF())
		must(c.SetReadDeadline(time.Time{}))
		f, err := c.GetFamily("nlctrl")
		fmt.Println("get", f.ID, err)
		for _, o := range []netlink.ConnOption{netlink.PacketInfo, netlink.BroadcastError, netlink.NoENOBUFS, netlink.ListenAllNSID, netlink.CapAcknowledge,
			netlink.ExtendedAcknowledge, netlink.GetStrictCheck} {
			fmt.Println("option", o, c.SetOption(o, true), c.SetOption(o, false))
		}
		fmt.Println("buffers", c.SetReadBuffer(65536), c.SetWriteBuffer(65536))
	}
}
