package explore

import (
	"context"
	"errors"
	"fmt"

	"nlmmap/kernel"
	"nlmmap/subsys/inet"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// netfilterPrograms read queued and logged packets.
func netfilterPrograms() []Program {
	return []Program{
		{"nfqueue-two-cpus", "Two processors queue packets to one reader, which answers with batch verdicts.", nfqueueTwoCPUs},
		{"packets-full-ring", "Two processors queue packets to a ring of one frame.", packetsFullRing},
		{"overrun-report", "A process waits for nothing but an error of its socket while a packet for it is lost.", overrunReport},
		{"nflog-batch", "The kernel collects logged packets in a frame while acknowledgements come behind it.", nflogBatch},
		{"nflog-two-cpus", "Two processors log packets that are collected in one message.", nflogTwoCPUs},
		{"queue-judge", "The library's program judges packets, one verdict for each, as they come.", queueJudge},
		{"queue-batch", "The library's program judges the packets of two processors with batch verdicts.", queueBatch},
		{"queue-tx-ring", "The library's program judges packets with verdicts that it sends through its TX ring.", queueTxRing},
		{"queue-goes", "A packet queue is closed while a packet comes.", queueGoes},
		{"queue-unbind", "A packet queue is unbound by a message while one packet waits in it and another comes.", queueUnbind},
		{"log-goes", "A log group is closed while packets are collected and the timer fires.", logGoes},
		{"logger", "The library's program reads a log while packets come and the timer that flushes them fires.", logger},
	}
}

// queue opens a packet queue with the program of the library and has packets sent there.
func (w *World) queue(cfg userspace.QueueConfig) (main sys.Task, q *userspace.Queue, stack *inet.Stack) {
	main = w.Process("reader")
	q = &userspace.Queue{Config: cfg}
	w.Must(q.Open(main))
	stack = w.packets()
	stack.AddRule(w.k.KernelTask("admin"), w.system.NFQueue.Rule(cfg.Queue, false))
	return main, q, stack
}

// log opens a log group in the same way.
func (w *World) log(cfg userspace.LoggerConfig, threshold uint32) (main sys.Task, l *userspace.Logger, stack *inet.Stack) {
	main = w.Process("logger")
	l = &userspace.Logger{Config: cfg}
	w.Must(l.Open(main))
	stack = w.packets()
	stack.AddRule(w.k.KernelTask("admin"), w.system.NFLog.Rule(cfg.Group, threshold, ""))
	return main, l, stack
}

// packets makes the device that packets leave by. The rules go when the run is over.
func (w *World) packets() *inet.Stack {
	stack := w.system.Inet(w.net)
	stack.SendUDP(w.k.KernelTask("admin"), 0, 0)
	w.Finally(func() { stack.FlushRules(w.k.KernelTask("admin")) })
	return stack
}

// cpus lets processors send one packet each.
func (w *World) cpus(n int, stack *inet.Stack) {
	for i := range n {
		w.Softirq(fmt.Sprint("cpu", i), func(cpu *kernel.Task) { stack.SendUDP(cpu, 1, 16) })
	}
}

func nfqueueTwoCPUs(w *World) {
	_, q, stack := w.queue(userspace.QueueConfig{RX: ring(2, 1024)})
	w.cpus(2, stack)
	w.Finally(func() {
		last := uint32(0)
		for msg, ok := w.take(q.Socket().RX); ok; msg, ok = w.take(q.Socket().RX) {
			for m, err := range uapi.Messages(msg) {
				w.Must(err)
				p, err := userspace.ParseQueuedPacket(m)
				w.Must(err)
				if p.ID < last {
					w.Violate("order", "the frame of packet %d comes after that of packet %d: a batch verdict up to the first hits the second", p.ID, last)
				}
				last = p.ID
			}
		}
	})
}

func packetsFullRing(w *World) {
	_, q, stack := w.queue(userspace.QueueConfig{RX: ring(1, 1024)})
	w.cpus(2, stack)
	w.Finally(func() { w.accounted(q.Socket(), 1, 2, 0) })
}

func overrunReport(w *World) {
	main, q, stack := w.queue(userspace.QueueConfig{RX: ring(1, 1024)})
	stack.SendUDP(w.k.KernelTask("admin"), 1, 16) // fills the ring
	w.cpus(1, stack)
	w.Go(main, func(t sys.Task) {
		_, err := t.Poll([]sys.PollFD{{FD: q.Socket().FD()}}, -1)
		w.Must(err)
	})
}

func nflogBatch(w *World) {
	main, l, stack := w.log(userspace.LoggerConfig{Group: 1, RX: ring(3, 4096)}, 2)
	s := l.Socket()
	w.Softirq("packets", func(cpu *kernel.Task) {
		stack.SendUDP(cpu, 1, 16)
		w.Optional(func() { stack.SendUDP(cpu, 1, 16) })
		w.k.FireTimer(cpu)
	})
	w.Go(w.forked(main, "sender"), func(t sys.Task) { w.send(t, s.FD(), noop(7), addr(0, 0)) })
	w.Go(main, func(sys.Task) {
		w.next(s.RX)
		w.next(s.RX)
	})
}

func nflogTwoCPUs(w *World) {
	main, l, stack := w.log(userspace.LoggerConfig{Group: 1, RX: ring(3, 4096)}, 3)
	w.cpus(2, stack)
	w.Finally(func() {
		w.k.FireTimer(w.k.KernelTask("timer"))
		inRing := 0
		for msg, ok := w.take(l.Socket().RX); ok; msg, ok = w.take(l.Socket().RX) {
			for m := range uapi.Messages(msg) {
				if m.Header.Type == uapi.NFULNLMsgPacket {
					inRing++
				}
			}
		}
		if inRing != 2 {
			w.Violate("no-silent-loss", "2 packets were logged, %d are in the ring", inRing)
		}
		w.Must(main.Close(l.Socket().FD()))
	})
}

// judge serves a queue until it has judged so many packets or none came for a while, and checks that none is missing.
func (w *World) judge(main sys.Task, q *userspace.Queue, packets int) {
	q.Config.Limit, q.Config.Idle = packets, 100*sys.Millisecond
	w.Go(main, func(sys.Task) {
		err := q.Serve(context.Background())
		if !errors.Is(err, userspace.ErrIgnored) { // 4.1 does not look at TX rings
			w.Must(err)
		}
	})
	w.Finally(func() {
		if got, lost := int(q.Packets.Load()), q.Overruns.Load(); got != packets && lost == 0 {
			w.Violate("no-silent-loss", "%d packets were queued, the reader got %d and was told of no loss", packets, got)
		}
		refused := q.Refused.Load()
		for msg, ok := w.take(q.Socket().RX); ok; msg, ok = w.take(q.Socket().RX) {
			for m := range uapi.Messages(msg) {
				if ack, err := uapi.ParseAck(m); err == nil && ack.Code != 0 {
					refused++
				}
			}
		}
		if refused != 0 {
			w.Violate("order", "%d verdicts were for packets that had been judged unseen", refused)
		}
	})
}

func queueJudge(w *World) {
	main, q, stack := w.queue(userspace.QueueConfig{RX: ring(2, 1024)})
	w.Softirq("packets", func(cpu *kernel.Task) {
		stack.SendUDP(cpu, 1, 16)
		stack.SendUDP(cpu, 1, 16)
	})
	w.judge(main, q, 2)
}

func queueBatch(w *World) {
	main, q, stack := w.queue(userspace.QueueConfig{RX: ring(2, 1024), Answer: userspace.AnswerBatch})
	w.cpus(2, stack)
	w.judge(main, q, 2)
}

func queueTxRing(w *World) {
	main, q, stack := w.queue(userspace.QueueConfig{RX: ring(2, 1024), TX: ring(2, 512), Answer: userspace.AnswerTxRing})
	w.cpus(1, stack)
	w.judge(main, q, 1)
}

func queueGoes(w *World) {
	main, q, stack := w.queue(userspace.QueueConfig{RX: ring(2, 1024)})
	stack.SendUDP(w.k.KernelTask("admin"), 1, 16)
	w.cpus(1, stack)
	w.Go(main, func(sys.Task) { w.Must(q.Close()) })
}

func queueUnbind(w *World) {
	main, q, stack := w.queue(userspace.QueueConfig{RX: ring(4, 1024)})
	stack.SendUDP(w.k.KernelTask("admin"), 1, 16)
	var b userspace.Builder
	userspace.QueueUnbind(&b, 9, 0)
	unbind, err := b.Bytes()
	w.Must(err)
	w.cpus(1, stack)
	w.Go(main, func(t sys.Task) { w.send(t, q.Socket().FD(), unbind, addr(0, 0)) })
}

func logGoes(w *World) {
	main, l, stack := w.log(userspace.LoggerConfig{Group: 1, RX: ring(3, 4096)}, 3)
	stack.SendUDP(w.k.KernelTask("admin"), 1, 16)
	w.Softirq("packets", func(cpu *kernel.Task) { stack.SendUDP(cpu, 1, 16) })
	w.timer()
	w.Go(main, func(sys.Task) { w.Must(l.Close()) })
}

func logger(w *World) {
	main, l, stack := w.log(userspace.LoggerConfig{Group: 1, RX: ring(3, 4096)}, 2)
	l.Config.Limit, l.Config.Idle = 2, 100*sys.Millisecond
	w.Softirq("packets", func(cpu *kernel.Task) {
		stack.SendUDP(cpu, 1, 16)
		stack.SendUDP(cpu, 1, 16)
		w.k.FireTimer(cpu)
	})
	w.Go(main, func(sys.Task) { w.Must(l.Serve(context.Background())) })
	w.Finally(func() {
		if got := l.Packets.Load(); got != 2 && l.Overruns.Load() == 0 {
			w.Violate("no-silent-loss", "2 packets were logged, the reader got %d and was told of no loss", got)
		}
	})
}
