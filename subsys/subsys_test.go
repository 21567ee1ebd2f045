package subsys_test

import (
	"fmt"
	"testing"

	"nlmmap/kernel"
	"nlmmap/subsys"
	"nlmmap/uapi"
)

// TestNames: each difference has one name, and a name that nobody knows is refused.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range new(subsys.Differences).Table() {
		if seen[d.Name] {
			t.Errorf("%s is there twice", d.Name)
		}
		seen[d.Name] = true
		if d.Spec == "" || d.Text == "" || len(d.Values()) == 0 {
			t.Errorf("%s is not described", d.Name)
		}
	}
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Set: map[string]string{"rtm-max": "91", "nonsense": "on"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := subsys.Register(k); err == nil {
		t.Error("nonsense is accepted")
	}
}

func BenchmarkBoot(b *testing.B) {
	for b.Loop() {
		k, err := kernel.Boot(kernel.Config{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := subsys.Register(k); err != nil {
			b.Fatal(err)
		}
	}
}

// A machine with everything on it, and an acknowledgement.
func Example() {
	k, err := kernel.Boot(kernel.Config{Version: kernel.Version{Release: kernel.Linux4_4}})
	if err != nil {
		panic(err)
	}
	if _, err := subsys.Register(k); err != nil {
		panic(err)
	}
	task := k.NewProcess("main", k.NewNet())
	fd, _ := task.Socket(uapi.AFNetlink, uapi.SockRaw, uapi.NetlinkRoute)
	noop := make([]byte, uapi.NLMsgHdrlen)
	uapi.NLMsgHdr{Len: uapi.NLMsgHdrlen, Type: uapi.NLMsgNoop, Flags: uapi.NLMFRequest | uapi.NLMFAck, Seq: 1}.Put(noop)
	_, _ = task.Sendto(fd, noop, 0, uapi.SockaddrNL{Family: uapi.AFNetlink}.Bytes())
	buf := make([]byte, 100)
	n, _ := task.Recvmsg(fd, &kernel.Msghdr{Iov: []kernel.Iovec{kernel.Iov(buf)}}, 0)
	fmt.Println(n, "bytes of type", uapi.ParseNLMsgHdr(buf).Type)
	fmt.Println(k.Close())
	// Output:
	// 36 bytes of type 2
	// <nil>
}
