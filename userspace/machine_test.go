package userspace_test

import (
	"encoding/binary"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/sys"
	"nlmmap/uapi"
	"nlmmap/userspace"
)

// Message types of the test protocol, which lives at the place of rtnetlink.
const (
	testOK   = uapi.RTMNewlink  // acknowledged with 0
	testFail = uapi.RTMDellink  // acknowledged with EINVAL
	testDump = uapi.RTMGetneigh // dumps testDumpLen messages of 76 bytes
	testHold = uapi.RTMNewaddr  // a message is built for the sender and thrown away
)

const testDumpLen = 500

// errorer is what machines need of a *testing.T; examples have one that panics.
type errorer interface {
	Helper()
	Fatal(args ...any)
}

// boot starts a machine with the test protocol, and USERSOCK for messages between users.
func boot(t errorer, cfg kernel.Config) *kernel.Kernel {
	t.Helper()
	k, err := kernel.Boot(cfg)
	if err != nil {
		t.Fatal(err)
	}
	nl, err := afnetlink.Register(k)
	if err != nil {
		t.Fatal(err)
	}
	nl.KernelCreate(uapi.NetlinkRoute, afnetlink.KernelCfg{NonrootRecv: true, Input: func(cur *kernel.Task, m *afnetlink.Message) {
		afnetlink.RcvSKB(cur, m, handle)
	}})
	nl.KernelCreate(uapi.NetlinkUsersock, afnetlink.KernelCfg{NoKernelSock: true, NonrootRecv: true, NonrootSend: true})
	return k
}

func handle(cur *kernel.Task, m *afnetlink.Message, msg afnetlink.Msg, h uapi.NLMsgHdr) error {
	switch {
	case h.Flags&uapi.NLMFDump != 0 && h.Type == testDump:
		return m.Netlink.DumpStart(cur, m, msg, afnetlink.DumpControl{Dump: dumpSome})
	case h.Type == testHold:
		if s := m.Netlink.AllocSKB(cur, m.Kernel, 64, 0, m.SKB.CB.Portid); s != nil {
			s.Free(cur)
		}
		return nil
	case h.Type == testFail:
		return kernel.EINVAL
	}
	return nil
}

// dumpSome fills one message of a dump.
func dumpSome(cur *kernel.Task, s *afnetlink.SKB, cb *afnetlink.Callback) int {
	for ; cb.Args[0] < testDumpLen; cb.Args[0]++ {
		h := uapi.NLMsgHdr{Type: uapi.RTMNewneigh, Flags: uapi.NLMFMulti, Seq: cb.Nlh.Seq(cur), Pid: cb.Portid}
		b, ok := afnetlink.PutMsg(cur, s, h, 60)
		if !ok {
			return s.Len()
		}
		payload := make([]byte, 60)
		binary.LittleEndian.PutUint32(payload, uint32(cb.Args[0]))
		b.Put(cur, s, payload)
		b.End(cur, s)
	}
	return s.Len()
}

// releases are the kernels that are modelled.
var releases = []kernel.Release{kernel.Linux3_10, kernel.Linux3_19, kernel.Linux4_1, kernel.Linux4_4, kernel.Linux4_5}

// eachRelease runs a test on a machine of each kernel and closes it.
func eachRelease(t *testing.T, fn func(t *testing.T, k *kernel.Kernel)) {
	for _, r := range releases {
		t.Run(r.String(), func(t *testing.T) {
			k := boot(t, kernel.Config{Version: kernel.Version{Release: r}})
			fn(t, k)
			finish(t, k)
		})
	}
}

func finish(t errorer, k *kernel.Kernel) {
	t.Helper()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
}

func open(t errorer, task sys.Task, proto int, cfg userspace.Config) *userspace.Socket {
	t.Helper()
	s, err := userspace.Open(task, proto, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t errorer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// request builds one message that asks for an acknowledgement.
func request(typ uint16, seq uint32, payload ...byte) []byte {
	b := userspace.NewBuilder(nil)
	b.Begin(uapi.NLMsgHdr{Type: typ, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: seq}).Raw(payload...)
	msg, err := b.Bytes()
	if err != nil {
		panic(err)
	}
	return msg
}

// data is a message between users.
func data(n int, fill byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = fill
	}
	return b
}
