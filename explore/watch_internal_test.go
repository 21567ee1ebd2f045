package explore

import (
	"testing"

	"nlmmap/uapi"
)

// TestField: frames need not fill their blocks, and then the second one starts with the second block.
func TestField(t *testing.T) {
	ring := uapi.NLMMapReq{BlockSize: 4096, BlockNr: 2, FrameSize: 3800, FrameNr: 2}
	for off, want := range map[uint64]string{
		0: "[0] status", 4: "[0] len", 20: "[0] gid", 24: "[0] message +0", 3796: "[0] message +3772", 3800: " +3800",
		4096: "[1] status", 4100: "[1] len", 4120: "[1] message +0",
	} {
		if got := field(ring, off); got != want {
			t.Errorf("byte %d is %q, want %q", off, got, want)
		}
	}
}
