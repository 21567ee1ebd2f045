package userspace

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// Answer is how a Queue tells the kernel its verdicts.
type Answer int

// The ways to answer. A batch is one verdict for all packets up to a number: it judges packets by the number, so that
// one which was handed out late by another processor is judged unseen. The TX ring takes single verdicts, many for
// one system call.
const (
	AnswerSingle Answer = iota
	AnswerBatch
	AnswerTxRing
)

func (a Answer) String() string {
	return [...]string{"single", "batch", "TX ring"}[a]
}

// QueueConfig describes a consumer of a packet queue.
type QueueConfig struct {
	Queue  uint16
	Params QueueParams // the zero value copies nothing but what describes the packet
	// RX is the ring of packets; the zero value is 64 frames of 4096 bytes. TX is the ring of verdicts, for
	// AnswerTxRing; the zero value is 16 frames of 128 bytes.
	RX, TX uapi.NLMMapReq
	Answer Answer
	// Verdict judges a packet; nil accepts all. With AnswerBatch the last verdict of a batch is that of all. The
	// packet's payload is Verdict's.
	Verdict func(QueuedPacket) uint32
	// Limit ends Serve after that many packets, Idle when none came for that long; 0 is never.
	Limit int
	Idle  sys.Time
}

// A Queue is a program that judges the packets of a queue. One goroutine runs it; the counters may be read by others.
type Queue struct {
	Config QueueConfig

	Packets  atomic.Int64 // that it got
	Copied   atomic.Int64 // of them, those that did not come in a ring frame
	Verdicts atomic.Int64 // messages with verdicts that it sent
	Refused  atomic.Int64 // of them, those that the kernel refused: the packet is gone
	Overruns atomic.Int64 // times that packets were lost on the way

	sock  *Socket
	b     Builder
	last  uint32 // number of the last packet of a batch, and its verdict
	judge uint32
	batch int
}

// Run opens the queue, serves it and closes it.
func (q *Queue) Run(ctx context.Context, t sys.Task) error {
	if err := q.Open(t); err != nil {
		return err
	}
	return errors.Join(q.Serve(ctx), q.Close())
}

// Open makes the socket and the queue. EBUSY when the queue exists, EPERM when it is somebody else's.
func (q *Queue) Open(t sys.Task) error {
	cfg := &q.Config
	if cfg.RX == (uapi.NLMMapReq{}) {
		cfg.RX = RingRequest(4096, 64)
	}
	if cfg.Answer == AnswerTxRing && cfg.TX == (uapi.NLMMapReq{}) {
		cfg.TX = RingRequest(128, 16)
	}
	if cfg.Params.Mode == 0 {
		cfg.Params.Mode = CopyMeta
	}
	// A packet that does not fit a frame comes beside the ring: 64 KiB and its attributes.
	s, err := Open(t, uapi.NetlinkNetfilter, Config{RX: cfg.RX, TX: cfg.TX, RecvSize: 1<<16 + 4096})
	if err != nil {
		return err
	}
	q.sock = s
	configure := func(build func(seq uint32)) error {
		q.b.Reset()
		build(s.Seq())
		msg, err := q.b.Bytes()
		if err != nil {
			return err
		}
		return s.Request(msg, sys.Second, nil)
	}
	err = configure(func(seq uint32) { QueueBind(&q.b, seq, cfg.Queue) })
	if err == nil {
		err = configure(func(seq uint32) { QueueSet(&q.b, seq, cfg.Queue, cfg.Params) })
	}
	if err != nil {
		return errors.Join(fmt.Errorf("queue %d: %w", cfg.Queue, err), q.Close())
	}
	return nil
}

// Socket is the socket that Open has made.
func (q *Queue) Socket() *Socket { return q.sock }

// Close closes the socket: the kernel then destroys the queue and drops what waits in it.
func (q *Queue) Close() error { return q.sock.Close() }

// Serve judges packets until ctx is done or a limit of the configuration is reached, which is no error. On an inline
// machine, where nothing happens meanwhile, one of the limits must be set.
func (q *Queue) Serve(ctx context.Context) error {
	serve := server{sock: q.sock, idle: q.Config.Idle, overrun: func() { q.Overruns.Add(1) }}
	return serve.run(ctx, func(f Frame) (bool, error) {
		data, err := f.Bytes()
		if err != nil {
			return false, err
		}
		for m, err := range uapi.Messages(data) {
			if err != nil {
				return false, fmt.Errorf("frame %d: %w", f.Index(), err)
			}
			if err := q.message(m, f.Copied()); err != nil {
				return false, err
			}
		}
		return q.Config.Limit > 0 && q.Packets.Load() >= int64(q.Config.Limit), nil
	}, q.flush)
}

func (q *Queue) message(m uapi.Message, copied bool) error {
	if m.Header.Type == uapi.NLMsgError {
		ack, err := uapi.ParseAck(m)
		if err == nil && ack.Code != 0 {
			q.Refused.Add(1)
		}
		return err
	}
	p, err := ParseQueuedPacket(m)
	if err != nil {
		return err
	}
	q.Packets.Add(1)
	if copied {
		q.Copied.Add(1)
	}
	verdict := uint32(Accept)
	if q.Config.Verdict != nil {
		verdict = q.Config.Verdict(p)
	}
	if q.Config.Answer == AnswerBatch {
		// Numbers go round: the later one is the one less than half way ahead.
		if q.batch == 0 || int32(p.ID-q.last) > 0 {
			q.last = p.ID
		}
		q.judge = verdict
		q.batch++
		return nil
	}
	q.b.Reset()
	QueueVerdict(&q.b, q.sock.Seq(), q.Config.Queue, p.ID, verdict)
	return q.answer()
}

// answer sends what the builder has.
func (q *Queue) answer() error {
	msg, err := q.b.Bytes()
	if err != nil {
		return err
	}
	q.Verdicts.Add(1)
	if q.Config.Answer == AnswerTxRing {
		return q.sock.TX.Send(msg, nil)
	}
	return q.sock.Send(msg, nil)
}

// flush sends what was collected while frames were read.
func (q *Queue) flush() error {
	switch {
	case q.Config.Answer == AnswerTxRing && q.sock.TX.Queued() > 0:
		_, err := q.sock.TX.Kick(nil)
		return err
	case q.batch > 0:
		q.batch = 0
		q.b.Reset()
		QueueVerdictBatch(&q.b, q.sock.Seq(), q.Config.Queue, q.last, q.judge)
		return q.answer()
	}
	return nil
}

// A server is the loop of a program that answers what comes.
type server struct {
	sock    *Socket
	idle    sys.Time
	overrun func()
}

// run calls frame for each frame and flush after each round of them, until frame says that it is enough.
func (s server) run(ctx context.Context, frame func(Frame) (enough bool, err error), flush func() error) error {
	t := s.sock.task
	last := t.Now()
	for ctx.Err() == nil {
		enough := false
		for f := range s.sock.RX.Frames() {
			last = t.Now()
			var err error
			if enough, err = frame(f); err != nil {
				return err
			}
			if enough {
				break
			}
		}
		err := s.sock.RX.Err()
		if ferr := flush(); ferr != nil {
			return ferr
		}
		if enough {
			return nil
		}
		if err == nil {
			err = s.sock.RX.Wait(tick)
		}
		switch {
		case errors.As(err, new(*Overrun)):
			s.overrun()
		case err != nil && !errors.Is(err, ErrTimeout) && !errors.Is(err, sys.EINTR):
			return err
		}
		if s.idle > 0 && t.Now()-last >= s.idle {
			return nil
		}
	}
	return nil
}
