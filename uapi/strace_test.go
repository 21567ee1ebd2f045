package uapi_test

import (
	"strings"
	"testing"

	"nlmmap/uapi"
)

// TestFormatMessages never fails on what it is given: lengths in messages may be anything.
func TestFormatMessages(t *testing.T) {
	for _, n := range []uint32{0, 1, 15, 16, 17, 20, 40, 0x7fffffff, 0xffffffff} {
		b := make([]byte, 40)
		uapi.NLMsgHdr{Len: n, Type: uapi.NLMsgError}.Put(b)
		for cut := range len(b) {
			if uapi.FormatMessages(b[:cut]) == "" {
				t.Errorf("length %d, cut to %d: nothing", n, cut)
			}
		}
	}
	if got := uapi.FormatMessages([]byte("not a message")); got != `"not a message"` {
		t.Error(got)
	}
	if got := uapi.FormatMessages(make([]byte, 1600)); strings.Count(got, "nlmsg_len") != 1 {
		t.Errorf("a length of 0 does not end the list: %s", got)
	}
}
