package afnetlink_test

import (
	"fmt"
	"testing"

	"nlmmap/afnetlink"
	"nlmmap/kernel"
	"nlmmap/uapi"
)

// freeTapped returns a tap that notes the lengths of what it sees.
func freeTapped(lengths *[]uint32) func(*kernel.Task, *afnetlink.SKB) {
	return func(cur *kernel.Task, s *afnetlink.SKB) {
		*lengths = append(*lengths, uint32(s.Len()))
		s.Free(cur)
	}
}

func newMessage(m *machine, cur *kernel.Task, text string) *afnetlink.SKB {
	s := m.nl.NewSKB(cur, len(text))
	s.Put(cur, []byte(text))
	return s
}

// TestTaps: what a tap sees of a request, of its acknowledgement in a frame and of a large user message, per release.
func TestTaps(t *testing.T) {
	each(t, func(t *testing.T, m *machine, r kernel.Release) {
		var got []uint32
		tap := &afnetlink.Tap{Deliver: freeTapped(&got)}
		err := m.nl.AddTap(m.Task, tap)
		if r == kernel.Linux3_10 {
			wantErr(t, err, kernel.EOPNOTSUPP)
			return
		}
		must(t, err)
		fd := m.open(1, 0)
		ring := m.ring(fd, uapi.NetlinkRxRing, 3)
		// 3.19 counts the tap's clone in the next frame: where the word is 0 it crashes.
		must(t, m.Store32(ring.addr+4096+32, 5))
		_, err = m.Sendto(fd, request(50, uapi.NLMFAck), 0, addr(0, 0))
		must(t, err)
		want := "[16 4072]"
		if r == kernel.Linux3_19 {
			want = "[16 36]"
		}
		if fmt.Sprint(got) != want {
			t.Errorf("the tap sees messages of %d bytes, want %s", got, want)
		}
		m.nl.RemoveTap(m.Task, tap)
		got = nil
		_, err = m.Sendto(fd, request(50, 0), 0, addr(0, 0))
		must(t, err)
		if got != nil {
			t.Errorf("a removed tap sees %d", got)
		}
	})
}

// TestTapCrash: the same in 3.19 with an empty next frame kills the sender.
func TestTapCrash(t *testing.T) {
	m := boot(t, kernel.Config{Version: kernel.Version{Release: kernel.Linux3_19}})
	var got []uint32
	must(t, m.nl.AddTap(m.Task, &afnetlink.Tap{Deliver: freeTapped(&got)}))
	fd := m.open(1, 0)
	m.ring(fd, uapi.NetlinkRxRing, 3)
	_, err := m.Sendto(fd, request(50, uapi.NLMFAck), 0, addr(0, 0))
	wantErr(t, err, kernel.ErrKilled)
}
