package userspace

import (
	"context"
	"errors"
	"fmt"

	"nlmmap/sys"
	"nlmmap/uapi"
)

// tick is how often a program that waits looks at its context.
const tick = 20 * sys.Millisecond

// DumpRequest returns a request that dumps what rtnetlink has of one kind: typ is one of RTM_GETLINK, RTM_GETADDR,
// RTM_GETROUTE, RTM_GETNEIGH and the like, family an address family, AF_UNSPEC for all.
func DumpRequest(typ uint16, family uint8, seq uint32) []byte {
	header := make([]byte, rtHeaderLen(typ))
	header[0] = family
	b := NewBuilder(nil)
	b.Begin(uapi.NLMsgHdr{Type: typ, Flags: uapi.NLMFRequest | uapi.NLMFDump, Seq: seq}).Raw(header...)
	msg, _ := b.Bytes() // nothing in it can fail
	return msg
}

// rtHeaderLen is the size of the fixed header of a kind of rtnetlink messages.
func rtHeaderLen(typ uint16) int {
	switch typ {
	case uapi.RTMGetlink:
		return 16
	case uapi.RTMGetaddr:
		return 8
	}
	return 12
}

// DumpConfig describes a dump.
type DumpConfig struct {
	Proto  int    // netlink protocol; 0 is rtnetlink
	Type   uint16 // message type of the request, RTMGetneigh for example
	Family uint8  // address family, 0 for all
	// Request makes the request, for dumps that Type and Family do not describe; see DiagRequest.
	Request func(seq uint32) []byte
	// Ring is the RX ring. The zero value is 16 frames of DumpFrameSize bytes. Larger frames work with 3.10, 3.19 and
	// 4.5 only: see DumpFrameSize.
	Ring uapi.NLMMapReq
	// RecvSize is Config.RecvSize, for messages that do not fit frames.
	RecvSize int
	// Timeout is how long the dumper waits for the next message; 0 is 1 s.
	Timeout sys.Time
	// Handle gets each message of the dump, DONE not included. Its bytes are Handle's. An error ends the dump.
	Handle func(uapi.Message) error
}

// ErrIncomplete says that a dump did not end as it should have: something is missing.
var ErrIncomplete = errors.New("the dump is not complete")

// A Dumper asks the kernel for a dump and reads it to its end. The counters are for the last Run.
type Dumper struct {
	Config DumpConfig

	Messages    int  // of the dump, DONE not included
	Frames      int  // ring frames that they came in, those of Copied included
	Copied      int  // of them, those whose message came through the receive queue
	Done        int  // NLMSG_DONE messages: 1 when all is well
	Overruns    int  // times that the kernel reported lost messages
	Interrupted bool // what was dumped changed meanwhile: NLM_F_DUMP_INTR
}

// Complete reports whether the last Run has seen everything: exactly one DONE, nothing lost, nothing changed meanwhile.
func (d *Dumper) Complete() bool { return d.Done == 1 && d.Overruns == 0 && !d.Interrupted }

// Run makes the dump on a socket of its own and returns nil when it is complete.
//
// Errors: ErrIncomplete, also wrapped by ErrTimeout when DONE does not come; the kernel's answer to the request; a
// *ParseError; those of Handle; the context's.
func (d *Dumper) Run(ctx context.Context, t sys.Task) (err error) {
	*d = Dumper{Config: d.Config}
	cfg := d.Config
	if cfg.Ring == (uapi.NLMMapReq{}) {
		cfg.Ring = RingRequest(DumpFrameSize, 16)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = sys.Second
	}
	s, err := Open(t, cfg.Proto, Config{RX: cfg.Ring, RecvSize: cfg.RecvSize})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	seq := s.Seq()
	request := cfg.Request
	if request == nil {
		request = func(seq uint32) []byte { return DumpRequest(cfg.Type, cfg.Family, seq) }
	}
	if err := s.Send(request(seq), nil); err != nil {
		return fmt.Errorf("dump request: %w", err)
	}
	if err := d.read(ctx, s, seq, cfg.Timeout); err != nil {
		return err
	}
	if !d.Complete() {
		return fmt.Errorf("%w: %d DONE messages, %d overruns, interrupted %t", ErrIncomplete, d.Done, d.Overruns, d.Interrupted)
	}
	return nil
}

// read reads until DONE, and what may lie behind it.
func (d *Dumper) read(ctx context.Context, s *Socket, seq uint32, timeout sys.Time) error {
	end := deadline(s.task, timeout)
	for {
		before := d.Frames
		for f := range s.RX.Frames() {
			if err := d.frame(f, seq); err != nil {
				return err
			}
		}
		err := s.RX.Err()
		if err == nil {
			if d.Done > 0 {
				return nil
			}
			if d.Frames > before {
				end = deadline(s.task, timeout)
			}
			// Also when there was something: this is what makes the kernel go on.
			err = s.RX.Wait(min(tick, s.remaining(end)))
		}
		switch {
		case errors.As(err, new(*Overrun)):
			d.Overruns++
		case errors.Is(err, ErrTimeout):
			if s.remaining(end) == 0 {
				return fmt.Errorf("%w: no end after %d messages: %w", ErrIncomplete, d.Messages, err)
			}
		case err != nil:
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// frame reads the messages of one frame.
func (d *Dumper) frame(f Frame, seq uint32) error {
	data, err := f.Bytes()
	if err != nil {
		return err
	}
	d.Frames++
	if f.Copied() {
		d.Copied++
	}
	for m, err := range uapi.Messages(data) {
		if err != nil {
			return fmt.Errorf("frame %d: %w", f.Index(), err)
		}
		if m.Header.Seq != seq {
			// Old bytes: the kernel has put the message somewhere else.
			return fmt.Errorf("frame %d: %w: sequence number %d where the request had %d; frames larger than %d bytes hide dumps on some kernels",
				f.Index(), ErrIncomplete, m.Header.Seq, seq, DumpFrameSize)
		}
		switch m.Header.Type {
		case uapi.NLMsgDone:
			done, err := uapi.ParseDone(m)
			if err != nil {
				return err
			}
			d.Done++
			d.Interrupted = d.Interrupted || done.Interrupted
			if err := done.Err(); err != nil {
				return fmt.Errorf("the dump ended early: %w", err)
			}
		case uapi.NLMsgError:
			ack, err := uapi.ParseAck(m)
			if err != nil {
				return err
			}
			if err := ack.Err(); err != nil {
				return fmt.Errorf("dump request of type %d: %w", d.Config.Type, err)
			}
		default:
			d.Messages++
			d.Interrupted = d.Interrupted || m.Header.Flags&uapi.NLMFDumpIntr != 0
			if d.Config.Handle != nil {
				if err := d.Config.Handle(m); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
