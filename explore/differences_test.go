package explore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"nlmmap/defects"
	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/versions"
)

// TestDefectsComposed searches for each defect on each release, with each value of the differences that it consists of:
// it is found where these say so, and nowhere else. So the differences that no scenario shows are exercised too.
func TestDefectsComposed(t *testing.T) {
	list, err := defects.All()
	if err != nil {
		t.Fatal(err)
	}
	table := versions.All()
	shown := map[string]bool{"skb-head-size": true} // by TestHeadSize
	for _, d := range list.Defects {
		for _, c := range d.Is {
			if len(d.Explored) == 0 {
				continue
			}
			shown[c.Difference] = true
			x := d.Explored[0]
			p, _ := explore.Lookup(x.Program)
			of, err := table.Find(c.Difference)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range kernel.Releases() {
				for _, value := range of.Values() {
					v, err := table.Set(kernel.Version{Release: r}, of.Name+"="+value)
					if err != nil {
						t.Fatal(err)
					}
					o := explore.Options{Version: v, Memory: x.Memory, Only: []string{d.Name}, Time: time.Minute}
					res := explore.Explore(context.Background(), p, o)
					if found, has := res.Failure != nil, list.Has(d, v); found != has || !has && !res.Exhausted || res.Err != nil {
						t.Errorf("%s: %s on %v: %v; has it the defect? %v", d.Name, p.Name, v, res, has)
					}
				}
			}
		}
	}
	for _, d := range table {
		if (d.Seen == kernel.SeenByConcurrency || d.Seen == kernel.SeenByWeakMemory) && !shown[d.Name] {
			t.Errorf("%s is seen by %s, but no program shows it", d.Name, d.Seen)
		}
	}
}

// headSize reads, while an acknowledgement is delivered into a ring, how many bytes are charged to its receiver.
func headSize(w *explore.World) {
	t := w.Process("sender")
	fd := w.Socket(t, uapi.NetlinkRoute, 1000)
	ring := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 1, FrameSize: 2048, FrameNr: 2}
	w.Must(t.Setsockopt(fd, uapi.SolNetlink, uapi.NetlinkRxRing, ring.Bytes()))
	w.Go(t, func(t sys.Task) {
		noop := make([]byte, uapi.NLMsgHdrlen)
		uapi.NLMsgHdr{Len: uapi.NLMsgHdrlen, Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: 1}.Put(noop)
		_, err := sys.Sendto(t, fd, noop, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
		w.Must(err)
	})
	var charged string
	w.Go(w.Process("reader"), func(t sys.Task) {
		_ = t.Close(-1) // somewhere on its way the sender goes on
		text, err := t.(*kernel.Task).ReadProc("/proc/net/netlink")
		w.Must(err)
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) > 4 && f[2] == "1000" {
				charged = f[4]
			}
		}
	})
	w.Outcome(func() string { return charged })
}

// TestHeadSize shows skb-head-size, which only another task sees, and only while a message is under way.
func TestHeadSize(t *testing.T) {
	p := explore.Program{Name: "head-size", Setup: headSize}
	table := versions.All()
	for set, want := range map[string]string{"232": "232", "224": "224", "100": "100"} {
		v, err := table.Set(kernel.Version{}, "skb-head-size="+set)
		if err != nil {
			t.Fatal(err)
		}
		res := explore.Outcomes(context.Background(), p, explore.Options{Version: v, Scheduler: "pct", Runs: 300})
		if _, ok := res.Find(want); !ok || len(res.Outcomes) != 2 || res.Err != nil {
			t.Errorf("%s: %v, outcomes %v", set, res.Result, res.Outcomes)
		}
	}
}
