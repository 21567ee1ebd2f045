package userspace_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"nlmmap/kernel"
	"nlmmap/kernel/inspect"
	"nlmmap/subsys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// system boots a machine with all subsystems.
func system(t errorer, cfg kernel.Config) *subsys.System {
	t.Helper()
	k, err := kernel.Boot(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s, err := subsys.Register(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eachSystem runs a test with all subsystems of each kernel.
func eachSystem(t *testing.T, mode kernel.Mode, fn func(t *testing.T, s *subsys.System, net *kernel.Net)) {
	for _, r := range releases {
		t.Run(r.String(), func(t *testing.T) {
			if mode == kernel.Free {
				t.Parallel()
			}
			s := system(t, kernel.Config{Mode: mode, Version: kernel.Version{Release: r}})
			// 3.10 looks queues' receivers up in the initial namespace only.
			fn(t, s, s.Kernel.InitNet())
			finish(t, s.Kernel)
		})
	}
}

func TestDumperOfNeighboursAndRoutes(t *testing.T) {
	eachSystem(t, kernel.Inline, func(t *testing.T, s *subsys.System, net *kernel.Net) {
		task := s.Kernel.NewProcess("dumper", net)
		must(t, s.Inet(net).PopulateNeigh(task, 300))
		must(t, s.Inet(net).PopulateRoute(task, 200))
		for _, c := range []struct {
			request, answer uint16
			least           int
		}{{uapi.RTMGetneigh, uapi.RTMNewneigh, 300}, {uapi.RTMGetroute, uapi.RTMNewroute, 200}, {uapi.RTMGetlink, uapi.RTMNewlink, 1}} {
			n := 0
			d := userspace.Dumper{Config: userspace.DumpConfig{Type: c.request, Family: uapi.AFInet, Handle: func(m uapi.Message) error {
				if m.Header.Type == c.answer {
					n++
				}
				return nil
			}}}
			if err := d.Run(t.Context(), task); err != nil || n < c.least || n != d.Messages || d.Copied != 0 {
				t.Errorf("request %d: %d of %d messages, %+v: %v", c.request, n, c.least, d, err)
			}
		}
	})
}

func TestQueueJudgesPackets(t *testing.T) {
	for _, answer := range []userspace.Answer{userspace.AnswerSingle, userspace.AnswerBatch, userspace.AnswerTxRing} {
		t.Run(answer.String(), func(t *testing.T) {
			eachSystem(t, kernel.Inline, func(t *testing.T, s *subsys.System, net *kernel.Net) {
				sender := s.Kernel.NewProcess("sender", net)
				s.Inet(net).AddRule(sender, s.NFQueue.Rule(5, false))
				lengths := map[int]int{}
				q := userspace.Queue{Config: userspace.QueueConfig{Queue: 5, Answer: answer, Idle: kernel.Second,
					Params: userspace.QueueParams{Mode: userspace.CopyPacket, Range: 65531},
					Verdict: func(p userspace.QueuedPacket) uint32 {
						lengths[len(p.Payload)]++
						if p.Queue != 5 || p.HWProto != 0x0800 || p.Hook != 3 || p.OutDev != 1 || p.Length != len(p.Payload) {
							t.Errorf("%+v", p)
						}
						return userspace.Accept
					}}}
				must(t, q.Open(s.Kernel.NewProcess("queue", net)))
				// The last ones do not fit a frame.
				for range 10 {
					s.Inet(net).SendUDP(sender, 4, 100)
				}
				s.Inet(net).SendUDP(sender, 2, 8000)
				err := q.Serve(t.Context())
				if answer == userspace.AnswerTxRing && s.Kernel.Config().Version.Release == kernel.Linux4_1 {
					if !errors.Is(err, userspace.ErrIgnored) {
						t.Fatalf("4.1 never looks at the TX ring: %v", err)
					}
					return
				}
				must(t, err)
				must(t, q.Close())
				verdicts := int64(42)
				if answer == userspace.AnswerBatch {
					verdicts = q.Verdicts.Load() // one for each round
				}
				if q.Packets.Load() != 42 || q.Copied.Load() != 2 || q.Verdicts.Load() != verdicts || q.Refused.Load() != 0 || q.Overruns.Load() != 0 {
					t.Errorf("%d packets, %d copied, %d verdicts, %d refused, %d overruns", q.Packets.Load(), q.Copied.Load(),
						q.Verdicts.Load(), q.Refused.Load(), q.Overruns.Load())
				}
				if st := s.Inet(net).Inspect(inspect.Key{}); st.Delivered != 42 || st.Dropped != 0 || st.Queued != 0 {
					t.Errorf("%+v", st)
				}
				if lengths[128] != 40 || lengths[8028] != 2 {
					t.Errorf("lengths %v", lengths)
				}
			})
		})
	}
}

func TestQueueErrors(t *testing.T) {
	s := system(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	net := s.Kernel.InitNet()
	task := s.Kernel.NewProcess("queue", net)
	a, b := userspace.Queue{Config: userspace.QueueConfig{Queue: 1}}, userspace.Queue{Config: userspace.QueueConfig{Queue: 1}}
	must(t, a.Open(task))
	// Who asks for somebody else's queue is refused.
	if err := b.Open(task); !errors.Is(err, kernel.EPERM) {
		t.Errorf("second owner: %v", err)
	}
	// A verdict on a packet that is gone is refused.
	sender := s.Kernel.NewProcess("sender", net)
	s.Inet(net).AddRule(sender, s.NFQueue.Rule(1, false))
	s.Inet(net).SendUDP(sender, 1, 1)
	var msg userspace.Builder
	userspace.QueueVerdict(&msg, 1, 1, 1, userspace.Accept)
	early, err := msg.Bytes()
	must(t, err)
	must(t, a.Socket().Send(early, nil))
	a.Config.Idle = kernel.Second
	must(t, a.Serve(t.Context()))
	if a.Refused.Load() != 1 {
		t.Errorf("%d refused", a.Refused.Load())
	}
	// A signal ends a wait and not the program.
	task.Interrupt()
	must(t, a.Serve(t.Context()))
	must(t, a.Close())
	finish(t, s.Kernel)
}

func TestLoggerCounts(t *testing.T) {
	eachSystem(t, kernel.Inline, func(t *testing.T, s *subsys.System, net *kernel.Net) {
		sender := s.Kernel.NewProcess("sender", net)
		s.Inet(net).AddRule(sender, s.NFLog.Rule(7, 0, ""))
		l := userspace.Logger{Config: userspace.LoggerConfig{Group: 7, Idle: 3 * kernel.Second,
			Params: userspace.LogParams{Mode: userspace.CopyPacket, Threshold: 10, Timeout: 50, Flags: 1},
			Handle: func(p userspace.LoggedPacket) {
				if p.Group != 7 || p.HWProto != 0 || p.Hook != 3 || len(p.Payload) != 128 {
					t.Errorf("%+v", p)
				}
			}}}
		must(t, l.Open(s.Kernel.NewProcess("logger", net)))
		s.Inet(net).SendUDP(sender, 25, 100)
		must(t, l.Serve(t.Context())) // the last five come with the timer
		must(t, l.Close())
		if l.Packets.Load() != 25 || l.Bytes.Load() != 25*128 || l.Missing.Load() != 0 || l.Overruns.Load() != 0 || l.Messages.Load() < 3 {
			t.Errorf("%d packets with %d bytes in %d messages, %d missing, %d overruns", l.Packets.Load(), l.Bytes.Load(), l.Messages.Load(),
				l.Missing.Load(), l.Overruns.Load())
		}
	})
}

// Programs run while packets come from several processes, and others dump; every packet gets its verdict.
func TestStressPrograms(t *testing.T) {
	for _, answer := range []userspace.Answer{userspace.AnswerSingle, userspace.AnswerBatch, userspace.AnswerTxRing} {
		t.Run(answer.String(), func(t *testing.T) {
			eachSystem(t, kernel.Free, func(t *testing.T, s *subsys.System, net *kernel.Net) {
				if answer == userspace.AnswerTxRing && s.Kernel.Config().Version.Release == kernel.Linux4_1 {
					t.Skip("4.1 never looks at the TX ring")
				}
				stressPrograms(t, s, net, answer)
			})
		})
	}
}

func stressPrograms(t *testing.T, s *subsys.System, net *kernel.Net, answer userspace.Answer) {
	k := s.Kernel
	admin := k.NewProcess("admin", net)
	must(t, s.Inet(net).PopulateNeigh(admin, 200))
	s.Inet(net).LoUp(admin)
	s.Inet(net).AddRule(admin, s.NFLog.Rule(1, 0, ""))
	s.Inet(net).AddRule(admin, s.NFQueue.Rule(1, false))
	q := userspace.Queue{Config: userspace.QueueConfig{Queue: 1, Answer: answer, Params: userspace.QueueParams{Mode: userspace.CopyPacket, Range: 200}}}
	l := userspace.Logger{Config: userspace.LoggerConfig{Group: 1, Params: userspace.LogParams{Mode: userspace.CopyMeta, Threshold: 5, Timeout: 1, Flags: 1}}}
	must(t, q.Open(k.NewProcess("queue", net)))
	must(t, l.Open(k.NewProcess("logger", net)))
	ctx, cancel := context.WithCancel(t.Context())
	var programs sync.WaitGroup
	programs.Go(func() {
		if err := q.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	programs.Go(func() {
		if err := l.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	const senders, each = 3, 400
	inParallel(t, senders+1, func(i int) error {
		task := k.NewProcess(fmt.Sprintf("p%d", i), net)
		if i == senders {
			for range 10 {
				d := userspace.Dumper{Config: userspace.DumpConfig{Type: uapi.RTMGetneigh, Timeout: 20 * kernel.Second}}
				if err := d.Run(t.Context(), task); err != nil {
					return err
				}
			}
			return nil
		}
		for n := range each {
			s.Inet(net).SendUDP(task, 1, 100+n)
			if n%20 == 0 {
				time.Sleep(time.Millisecond) // lets the reader catch up, most times
			}
		}
		return nil
	})
	// All that was not lost on the way is judged in the end.
	for range 400 {
		if st := s.Inet(net).Inspect(inspect.Key{}); st.Queued == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	programs.Wait()
	st := s.Inet(net).Inspect(inspect.Key{})
	if st.Sent != senders*each || st.Delivered+st.Dropped != st.Sent || st.Queued != 0 {
		t.Errorf("%+v; %d packets, %d verdicts, %d refused, %d overruns", st, q.Packets.Load(), q.Verdicts.Load(), q.Refused.Load(), q.Overruns.Load())
	}
	if st.Dropped > 0 && q.Overruns.Load() == 0 {
		t.Errorf("%d packets were dropped and nobody said so", st.Dropped)
	}
	if got := l.Packets.Load() + l.Missing.Load(); got > int64(st.Sent) || l.Packets.Load() == 0 {
		t.Errorf("%d logged and %d missing of %d", l.Packets.Load(), l.Missing.Load(), st.Sent)
	}
	must(t, errors.Join(q.Close(), l.Close()))
}
