package measure

import (
	"encoding/binary"
	"fmt"

	"nlmmap/uapi"
	"nlmmap/userspace"
)

// A conn is a netlink socket as the operations use it, of the model or of the live kernel, on one way.
type conn interface {
	// send sends a message to where the socket is connected. Through a TX ring it is on its way after flush.
	send(msg []byte) error
	flush() error
	// grow makes room for so many bytes of messages that wait (SO_RCVBUFFORCE).
	grow(bytes int) error
	// receive returns the next message; its bytes are valid until the next call.
	receive() ([]byte, error)
	close() error
}

// acknowledged is a request of size bytes that asks for nothing but its acknowledgement, and that.
func acknowledged(c conn, size int) func(n int) error {
	msg := make([]byte, size)
	uapi.NLMsgHdr{Len: uint32(size), Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck}.Put(msg)
	return request(c, msg, 0)
}

// refused is a request of size bytes that the kernel does not know, and the answer, which quotes it.
func refused(c conn, size int) func(n int) error {
	const unknown = 0xfff0
	msg := make([]byte, size)
	uapi.NLMsgHdr{Len: uint32(size), Type: unknown, Flags: uapi.NLMFRequest}.Put(msg)
	return request(c, msg, size)
}

// request sends a message and receives its acknowledgement, which has a code and at least so many bytes of the message.
func request(c conn, msg []byte, quoted int) func(n int) error {
	return func(n int) error {
		for i := range n {
			binary.LittleEndian.PutUint32(msg[8:], uint32(i)) // nlmsg_seq
			if err := c.send(msg); err != nil {
				return err
			}
			answer, err := c.receive()
			if err != nil {
				return err
			}
			h := uapi.ParseNLMsgHdr(answer)
			if h.Type != uapi.NLMsgError || h.Seq != uint32(i) || len(answer) < uapi.NLMsgHdrlen+4+quoted {
				return fmt.Errorf("%d bytes of type %d are not the answer to request %d", len(answer), h.Type, i)
			}
		}
		return nil
	}
}

// passed is a message of size bytes from one socket to another.
func passed(from, to conn, size int) func(n int) error {
	msg := make([]byte, size)
	uapi.NLMsgHdr{Len: uint32(size), Type: uapi.NLMsgMinType}.Put(msg)
	return func(n int) error {
		for range n {
			if err := from.send(msg); err != nil {
				return err
			}
			if err := from.flush(); err != nil {
				return err
			}
			got, err := to.receive()
			if err != nil {
				return err
			}
			if len(got) != size {
				return fmt.Errorf("a message of %d bytes arrives with %d", size, len(got))
			}
		}
		return nil
	}
}

// dumped is a dump of all routes, of which there must be at least so many.
func dumped(c conn, routes int) func(n int) error {
	return func(n int) error {
		for seq := range uint32(n) {
			if err := c.send(userspace.DumpRequest(uapi.RTMGetroute, uapi.AFInet, seq+1)); err != nil {
				return err
			}
			got, err := dump(c)
			if err == nil && got < routes {
				err = fmt.Errorf("a dump of %d routes has %d", routes, got)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// dump receives a dump to its end and counts its messages.
func dump(c conn) (count int, err error) {
	for {
		data, err := c.receive()
		if err != nil {
			return count, err
		}
		for len(data) >= uapi.NLMsgHdrlen {
			h := uapi.ParseNLMsgHdr(data)
			switch {
			case h.Type == uapi.NLMsgDone:
				return count, nil
			case h.Type == uapi.NLMsgError || !uapi.NLMsgOK(h.Len, len(data)):
				return count, fmt.Errorf("a message of type %d and length %d in a dump", h.Type, h.Len)
			}
			count++
			data = data[uapi.NLMsgNext(h.Len, len(data)):]
		}
	}
}

// confirmed sends requests of which the last wants an acknowledgement, and waits for that.
func confirmed(c conn, b *userspace.Builder) error {
	if err := post(c, b); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	answer, err := c.receive()
	if err != nil {
		return err
	}
	if len(answer) < uapi.NLMsgHdrlen+4 || uapi.ParseNLMsgHdr(answer).Type != uapi.NLMsgError {
		return fmt.Errorf("%d bytes are no acknowledgement", len(answer))
	}
	if code := int32(binary.LittleEndian.Uint32(answer[uapi.NLMsgHdrlen:])); code != 0 {
		return fmt.Errorf("refused with %d", code)
	}
	return nil
}

// post sends what is built.
func post(c conn, b *userspace.Builder) error {
	msg, err := b.Bytes()
	if err != nil {
		return err
	}
	return c.send(msg)
}

// routeBatch is how many routes one call adds.
const routeBatch = 100

// addRoutes makes routes to single addresses over lo, 10.0.0.0 and so on.
func addRoutes(c conn, count int) error {
	var b userspace.Builder
	for first := 0; first < count; first += routeBatch {
		b.Reset()
		last := min(first+routeBatch, count) - 1
		for i := first; i <= last; i++ {
			flags := uint16(uapi.NLMFRequest | uapi.NLMFCreate | uapi.NLMFExcl)
			if i == last {
				flags |= uapi.NLMFAck
			}
			b.Begin(uapi.NLMsgHdr{Type: uapi.RTMNewroute, Flags: flags, Seq: uint32(i)})
			const table, boot, scopeLink, unicast, bits = 254, 3, 253, 1, 32
			b.Raw(uapi.AFInet, bits, 0, 0, table, boot, scopeLink, unicast, 0, 0, 0, 0)
			const rtaDst, rtaOif, lo = 1, 4, 1
			b.Attr(rtaDst, []byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			b.Attr(rtaOif, []byte{lo, 0, 0, 0})
			b.End()
		}
		if err := confirmed(c, &b); err != nil {
			return fmt.Errorf("routes %d to %d: %w", first, last, err)
		}
	}
	return nil
}

// How a packet queue is answered. Its socket has room for a batch of the largest packets, which weigh more than they are long.
const (
	queueNumber = 7
	batchSize   = 25
	queueRoom   = batchSize * 1 << 17
)

// openQueue makes a packet queue that copies packets whole.
func openQueue(c conn) error {
	if err := c.grow(queueRoom); err != nil {
		return err
	}
	for _, build := range []func(b *userspace.Builder){
		func(b *userspace.Builder) { userspace.QueueBind(b, 1, queueNumber) },
		func(b *userspace.Builder) {
			userspace.QueueSet(b, 2, queueNumber, userspace.QueueParams{Mode: userspace.CopyPacket, Range: 0xffff})
		},
	} {
		var b userspace.Builder
		build(&b)
		if err := confirmed(c, &b); err != nil {
			return fmt.Errorf("the packet queue: %w", err)
		}
	}
	return nil
}

// judged sends as many packets as a batch has, receives them, and drops them: with a verdict for each, sent one by one or
// together (flush), or with one for all.
func judged(c conn, packet func() error, together bool) func(n int) error {
	var b userspace.Builder
	return func(n int) error {
		for range n {
			for range batchSize {
				if err := packet(); err != nil {
					return err
				}
			}
			var id uint32
			for range batchSize {
				data, err := c.receive()
				if err != nil {
					return err
				}
				if id, err = packetID(data); err != nil {
					return err
				}
				if together {
					continue
				}
				if err := verdict(c, &b, uapi.NFQNLMsgVerdict, id); err != nil {
					return err
				}
			}
			if together {
				if err := verdict(c, &b, uapi.NFQNLMsgBatch, id); err != nil {
					return err
				}
			}
			if err := c.flush(); err != nil {
				return err
			}
		}
		return nil
	}
}

// packetID is the number of a queued packet: what its first attribute begins with.
func packetID(data []byte) (uint32, error) {
	const at = uapi.NLMsgHdrlen + uapi.NFGenMsglen + uapi.NLAHdrlen
	if len(data) < at+4 || uapi.ParseNLMsgHdr(data).Type != uapi.NFQNLMsgPacket {
		return 0, fmt.Errorf("%d bytes are no queued packet", len(data))
	}
	return binary.BigEndian.Uint32(data[at:]), nil
}

func verdict(c conn, b *userspace.Builder, typ uint16, id uint32) error {
	b.Reset()
	if typ == uapi.NFQNLMsgBatch {
		userspace.QueueVerdictBatch(b, 0, queueNumber, id, userspace.Drop)
	} else {
		userspace.QueueVerdict(b, 0, queueNumber, id, userspace.Drop)
	}
	return post(c, b)
}
