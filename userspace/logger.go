package userspace

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// LoggerConfig describes a reader of a log group.
type LoggerConfig struct {
	Group  uint16
	Params LogParams // the zero value leaves everything as the kernel has it: whole packets, 1 s, 100 packets
	// RX is the ring; the zero value is 16 frames of 4096 bytes. Frames below 3800 bytes are never used for messages
	// of the default size.
	RX uapi.NLMMapReq
	// Handle gets each packet; nil only counts. The payload is Handle's.
	Handle func(LoggedPacket)
	// Limit ends Serve after that many packets, Idle when nothing came for that long; 0 is never.
	Limit int
	Idle  sys.Time
}

// A Logger is a program that reads a log group. One goroutine runs it; the counters may be read by others.
type Logger struct {
	Config LoggerConfig

	Packets  atomic.Int64 // that it got
	Messages atomic.Int64 // frames that they came in
	Bytes    atomic.Int64 // of packets
	Missing  atomic.Int64 // packets whose number was passed over; only with Params.Flags 1
	Overruns atomic.Int64 // times that messages were lost on the way

	sock    *Socket
	b       Builder
	nextSeq uint32
	began   bool
}

// Run opens the log, reads it and closes it.
func (l *Logger) Run(ctx context.Context, t sys.Task) error {
	if err := l.Open(t); err != nil {
		return err
	}
	return errors.Join(l.Serve(ctx), l.Close())
}

// Open makes the socket and the log group. EBUSY when the group exists, EPERM when it is somebody else's.
func (l *Logger) Open(t sys.Task) error {
	cfg := &l.Config
	if cfg.RX == (uapi.NLMMapReq{}) {
		cfg.RX = RingRequest(4096, 16)
	}
	s, err := Open(t, uapi.NetlinkNetfilter, Config{RX: cfg.RX, RecvSize: max(int(cfg.Params.Nlbufsiz), 1<<16) + 4096})
	if err != nil {
		return err
	}
	l.sock = s
	l.began = false
	LogBind(&l.b, s.Seq(), cfg.Group)
	err = l.request()
	if err == nil && cfg.Params != (LogParams{}) {
		l.b.Reset()
		LogSet(&l.b, s.Seq(), cfg.Group, cfg.Params)
		err = l.request()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("log group %d: %w", cfg.Group, err), l.Close())
	}
	return nil
}

func (l *Logger) request() error {
	msg, err := l.b.Bytes()
	if err != nil {
		return err
	}
	return l.sock.Request(msg, sys.Second, nil)
}

// Socket is the socket that Open has made.
func (l *Logger) Socket() *Socket { return l.sock }

// Close closes the socket: the kernel then destroys the group.
func (l *Logger) Close() error { return l.sock.Close() }

// Serve reads packets until ctx is done or a limit of the configuration is reached, which is no error. On an inline
// machine one of the limits must be set.
func (l *Logger) Serve(ctx context.Context) error {
	serve := server{sock: l.sock, idle: l.Config.Idle, overrun: func() { l.Overruns.Add(1) }}
	return serve.run(ctx, func(f Frame) (bool, error) {
		if err := l.frame(f); err != nil {
			return false, err
		}
		return l.Config.Limit > 0 && l.Packets.Load() >= int64(l.Config.Limit), nil
	}, func() error { return nil })
}

func (l *Logger) frame(f Frame) error {
	data, err := f.Bytes()
	if err != nil {
		return err
	}
	l.Messages.Add(1)
	for m, err := range uapi.Messages(data) {
		if err != nil {
			return fmt.Errorf("frame %d: %w", f.Index(), err)
		}
		if m.Header.Type == uapi.NLMsgDone {
			return nil // the trailer of several packets; its payload means nothing
		}
		p, err := ParseLoggedPacket(m)
		if err != nil {
			return err
		}
		if p.HasSeq {
			if l.began {
				l.Missing.Add(int64(max(0, int32(p.Seq-l.nextSeq))))
			}
			l.began, l.nextSeq = true, p.Seq+1
		}
		l.Packets.Add(1)
		l.Bytes.Add(int64(len(p.Payload)))
		if l.Config.Handle != nil {
			l.Config.Handle(p)
		}
	}
	return nil
}
