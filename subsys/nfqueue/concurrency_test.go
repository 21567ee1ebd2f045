package nfqueue_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/kernel/sched"
	"nlmmap/subsys/internal/nftest"
	"nlmmap/subsys/nfqueue"
	"nlmmap/uapi"
)

// bootConfig is boot with any configuration.
func bootConfig(t testing.TB, cfg kernel.Config) *machine {
	m := &machine{Machine: nftest.BootConfig(t, cfg)}
	m.q = register(m.Machine)
	m.s = m.Sock(1000)
	m.ask(0, config, cmd(1), params(nfqueue.CopyMeta, 0))
	m.Stack().AddRule(m.Main, m.q.Rule(0, false))
	return m
}

// TestIDOrder lets two processors send packets: in some run the ids are not in the order of the frames (nfq-id-order),
// and in no run anything leaks.
func TestIDOrder(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(100) {
		run := &sched.Run{Scheduler: sched.NewRandom(seed)}
		m := bootConfig(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}, Mode: kernel.Controlled, Run: run})
		m.s.Ring(2048, 2)
		for i := range 2 {
			p := m.K.NewProcess(fmt.Sprint("sender", i), m.Main.Net())
			p.Go(func(cur *kernel.Task) { m.Stack().SendUDP(cur, 1, 100) })
		}
		if err := run.Loop(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		var ids []uint32
		for i := range 2 {
			ids = append(ids, binary.BigEndian.Uint32(m.s.Frame(i, 64)[uapi.NLMMapHdrlen+24:]))
		}
		seen[fmt.Sprint(ids)]++
		m.Close()
	}
	if len(seen) != 2 || seen["[1 2]"] == 0 || seen["[2 1]"] == 0 {
		t.Errorf("orders of ids: %v", seen)
	}
}

// TestDestroyWhileSending removes and makes the queue again while packets come: none is forgotten.
func TestDestroyWhileSending(t *testing.T) {
	for seed := range uint64(100) {
		run := &sched.Run{Scheduler: sched.NewRandom(seed)}
		m := bootConfig(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_1}, Mode: kernel.Controlled, Run: run})
		sender := m.K.NewProcess("sender", m.Main.Net())
		sender.Go(func(cur *kernel.Task) { m.Stack().SendUDP(cur, 3, 100) })
		m.Main.Go(func(*kernel.Task) {
			if err := m.s.Send(nftest.Msg(config, uapi.NLMFRequest, 0, cmd(2))); err != nil {
				t.Error(err)
			}
		})
		if err := run.Loop(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if s := m.Stack().Inspect(inspect.Key{}); s.Queued != 0 || s.Dropped != 3 {
			t.Errorf("seed %d: packets %+v", seed, s)
		}
		m.Close()
	}
}

// TestParallel is for the race detector: senders, verdicts and configuration at once.
func TestParallel(t *testing.T) {
	const n = 200
	m := bootConfig(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_5}, Mode: kernel.Free})
	var wg sync.WaitGroup
	for i := range 2 {
		p := m.K.NewProcess(fmt.Sprint("sender", i), m.Main.Net())
		wg.Go(func() { m.Stack().SendUDP(p, n, 100) })
	}
	setter := m.K.NewProcess("setter", m.Main.Net())
	other := m.SockOf(setter, 2000)
	wg.Go(func() {
		for i := range uint32(n) {
			_ = other.Send(nftest.Msg(verdict, uapi.NLMFRequest, 0, hdr(1, i)))
			_ = m.q.Stats(setter, m.Main.Net())
		}
	})
	wg.Go(func() {
		for i := range uint32(n) {
			_ = m.s.Send(nftest.Msg(batch, uapi.NLMFRequest, 0, hdr(1, 2*i)),
				nftest.Msg(config, uapi.NLMFRequest, 0, params(nfqueue.CopyPacket, i)))
		}
	})
	wg.Wait()
	m.Close()
}
