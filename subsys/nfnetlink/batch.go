package nfnetlink

import (
	"encoding/binary"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// Types of the messages that begin and end a batch.
const (
	typeBatchBegin = 0x10
	typeBatchEnd   = 0x11
)

// batchErr is an acknowledgement that waits for the end of the batch (struct nfnl_err).
type batchErr struct {
	msg afnetlink.Msg
	err error
}

// rcvBatch handles a buffer that begins with BATCH_BEGIN: nfnetlink_rcv_batch (spec 12.2). The messages up to
// BATCH_END go to one subsystem, which then commits them all, or aborts where one of them failed or the end is
// missing. Acknowledgements are collected and sent afterwards.
func (f *Family) rcvBatch(cur *kernel.Task, m *afnetlink.Message) {
	if m.SKB.Linear() < uapi.NLMsgHdrlen+uapi.NFGenMsglen {
		return
	}
	begin := afnetlink.Msg{SKB: m.SKB}
	var res [2]byte
	m.SKB.Read(cur, uapi.NLMsgHdrlen+2, res[:])
	id := f.batchSubsys(res)
	if id >= subsystems {
		f.nl.Ack(cur, m, begin, kernel.EINVAL)
		return
	}
	s := f.subsys[id]
	if s == nil || s.Commit == nil || s.Abort == nil {
		if f.D.BatchNullSk {
			f.k.Oops(cur, "nfnl-batch-null-sk", "the batch's copy has no socket: its acknowledgement follows a null pointer")
		}
		f.nl.Ack(cur, m, begin, kernel.EOPNOTSUPP)
		return
	}
	s.mutex.Lock(cur)
	acks, commit := f.batch(cur, m, s)
	if commit {
		s.Commit(cur, m.Net())
	} else {
		s.Abort(cur, m.Net())
	}
	s.mutex.Unlock(cur)
	for _, a := range acks {
		f.nl.Ack(cur, m, a.msg, a.err)
	}
}

// batchSubsys reads the number of the subsystem: see nfnl-batch-order.
func (f *Family) batchSubsys(res [2]byte) int {
	host := int(binary.LittleEndian.Uint16(res[:]))
	if !f.D.BatchBothOrders || host == SubsysNFTables {
		return host
	}
	return int(binary.BigEndian.Uint16(res[:]))
}

// batch processes the messages behind BATCH_BEGIN and reports whether all went well.
func (f *Family) batch(cur *kernel.Task, m *afnetlink.Message, s *Subsystem) (acks []batchErr, commit bool) {
	failed := false
	msg := afnetlink.Msg{SKB: m.SKB}
	for {
		msg = msg.Next(int(msg.Len(cur)))
		if m.SKB.Linear()-msg.Off < uapi.NLMsgHdrlen {
			return acks, false
		}
		var err error
		if n, ok := msg.Whole(cur); !ok || n < uapi.NLMsgHdrlen+uapi.NFGenMsglen {
			if f.D.BatchAbortMalformed {
				return nil, false
			}
			if msg.Len(cur) == 0 {
				// The message is looked at again and again, and each time an error is collected.
				f.k.Oops(cur, "nfnl-batch-abort-malformed", "a message of length 0 never ends: memory is exhausted")
			}
			err = kernel.EINVAL
		} else {
			h := msg.Header(cur)
			// One that is no request neither begins nor ends anything.
			switch {
			case h.Flags&uapi.NLMFRequest == 0:
			case h.Type == typeBatchBegin:
				return nil, false
			case h.Type == typeBatchEnd:
				return acks, !failed
			}
			if err = f.batchMsg(cur, m, s, msg, h); err == nil && h.Flags&uapi.NLMFAck == 0 {
				continue
			}
		}
		acks = append(acks, batchErr{msg, err})
		failed = failed || err != nil
	}
}

// batchMsg handles one message of a batch.
func (f *Family) batchMsg(cur *kernel.Task, m *afnetlink.Message, s *Subsystem, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	if h.Flags&uapi.NLMFRequest == 0 || h.Type < uapi.NLMsgMinType || uint8(h.Type>>8) != s.ID {
		return kernel.EINVAL
	}
	_, handler := f.handler(h.Type)
	if handler == nil {
		return kernel.Errorf(kernel.EINVAL, "nobody handles type %#x", h.Type)
	}
	r, err := parse(m, h, msg.Payload(cur), handler.Policy)
	if err != nil || handler.CallBatch == nil {
		return err
	}
	return handler.CallBatch(cur, r)
}
