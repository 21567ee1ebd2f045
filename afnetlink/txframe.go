package afnetlink

import (
	"nlmmap/kernel"
	"nlmmap/ringmm"
	"nlmmap/skb"
	"nlmmap/uapi"
)

// lenOnce and lenAgain are what a TX frame's length is each time that it is needed after it was checked: what it was
// then, or, with tx-len-reread, what the frame says by now.
func lenOnce(_ *kernel.Task, _ ringmm.Frame, checked uint32) uint32 { return checked }

func lenAgain(cur *kernel.Task, f ringmm.Frame, _ uint32) uint32 { return f.Len(cur) }

// txInPlace makes a message of the n bytes in a frame whose data is the frame: only where tx-in-place.
func (sk *Sock) txInPlace(cur *kernel.Task, f ringmm.Frame, n uint32) *skb.SKB {
	s := skb.AllocHead(sk.K, sk.nl.D.SKB.HeadSize)
	sk.Hold(cur)
	ringSetupSKB(cur, s, sk, &sk.txRing, f)
	s.CB.Flags |= skb.TX
	if beyond := s.SetLen(int(sk.nl.txLen(cur, f, n))); beyond > 0 {
		sk.K.Corrupt(cur, "tx-in-place", "the length was read again: the message extends %d bytes beyond frame %d", beyond, f.Pos)
	}
	if sk.K.Watched() {
		sk.K.Emit(cur, TxEvent{sk, f.Pos, n, s.Peek(cur)})
	}
	f.SetStatus(cur, uapi.NLMMapStatusReserved)
	sk.txRing.Pending.Add(cur, 1)
	return s
}

// txCopy makes a private copy of the n bytes in a frame and releases the frame. It returns nil without memory; the
// frame then stays.
func (sk *Sock) txCopy(cur *kernel.Task, f ringmm.Frame, n uint32) *skb.SKB {
	s := skb.New(sk.K, int(min(sk.nl.txLen(cur, f, n), 1<<30)))
	if s == nil {
		return nil
	}
	s.SetLen(int(sk.nl.txLen(cur, f, n)))
	copied := sk.nl.txLen(cur, f, n)
	mem, off := f.Data()
	data := make([]byte, min(copied, sk.txRing.Maxlen(cur)))
	mem.Read(cur.CPU(), off, data)
	if int(copied) > s.Len() {
		sk.K.Corrupt(cur, "tx-len-reread", "the length was read again: %d bytes are written behind the message's buffer", int(copied)-s.Len())
		data = data[:min(len(data), s.Len())]
	}
	emit(sk, cur, TxEvent{sk, f.Pos, n, data})
	s.Write(cur, 0, data)
	f.SetStatus(cur, uapi.NLMMapStatusUnused)
	return s
}
