package scenario

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlmmap/sys"
	"nlmmap/uapi"
)

func TestErrnoName(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.EOPNOTSUPP: "EOPNOTSUPP",
		unix.EAGAIN:     "EAGAIN",
		524:             "ENOTSUPP",
		4000:            "4000",
	} {
		if got := ErrnoName(errno); got != want {
			t.Errorf("ErrnoName(%d) = %q, want %q", int(errno), got, want)
		}
	}
	for err, want := range map[error]string{
		fmt.Errorf("no room: %w", unix.ENOBUFS):  "ENOBUFS",
		fmt.Errorf("recvmsg: %w", sys.ErrBlocks): "blocks",
		noSuch("ring", "rx"):                     "no such ring rx",
	} {
		if got := errorText(err); got != want {
			t.Errorf("errorText(%v) = %q, want %q", err, got, want)
		}
	}
}

func TestMessages(t *testing.T) {
	tests := []struct {
		name     string
		protocol int
		input    string // message lines
		want     string
	}{
		{"route names", uapi.NetlinkRoute, "msg type=newneigh flags=multi seq=1 pid=9",
			"newneigh len=16 flags=0x2 seq=1 pid=9"},
		{"no route names elsewhere", uapi.NetlinkUsersock, "msg type=newneigh", "28 len=16 flags=0x0 seq=0 pid=0"},
		{"names of ids", uapi.NetlinkUsersock, "msg type=1 pid=100\nmsg type=1 pid=-5",
			"noop len=16 flags=0x0 seq=0 pid=main\nnoop len=16 flags=0x0 seq=0 pid=auto"},
		{"malformed ends the list", uapi.NetlinkUsersock, "msg type=1 len=15\nmsg type=1",
			"malformed len=15 left=32"},
		{"too long", uapi.NetlinkUsersock, "msg type=1 len=17", "malformed len=17 left=16"},
		{"trailing", uapi.NetlinkUsersock, "msg type=1\nraw bytes=15 byte=1",
			"noop len=16 flags=0x0 seq=0 pid=0\ntrailing 15"},
		{"run", uapi.NetlinkUsersock, "msg type=5\nmsg type=5\nmsg type=5\nmsg type=5 seq=1",
			"5 len=16 flags=0x0 seq=0 pid=0 x3\n5 len=16 flags=0x0 seq=1 pid=0"},
		{"no run of done", uapi.NetlinkUsersock, "msg type=done payload=4\nmsg type=done hex=8cffffff",
			"done len=20 flags=0x0 seq=0 pid=0 error=0\ndone len=20 flags=0x0 seq=0 pid=0 error=ESTALE"},
		{"short done", uapi.NetlinkUsersock, "msg type=done payload=2", "done len=18 flags=0x0 seq=0 pid=0"},
		{"answer", uapi.NetlinkRoute, "msg type=error hex=a1ffffff" + "14000000" + "1e000103" + "05000000" + "64000000",
			"error len=36 flags=0x0 seq=0 pid=0 error=EOPNOTSUPP to=getneigh len=20 flags=0x301 seq=5 pid=main"},
		{"answer with an internal number", uapi.NetlinkRoute, "msg type=error hex=f4fdffff",
			"error len=20 flags=0x0 seq=0 pid=0 error=ENOTSUPP"},
		{"queued packet", uapi.NetlinkNetfilter, "msg type=768 hex=02000000" + "0b000100" + "0000000a080003" + "00" + "08000d0000000102" + "06000a00aabb0000",
			"768 len=48 flags=0x0 seq=0 pid=0 packet=10 a13:4 payload=2"},
		{"logged packet", uapi.NetlinkNetfilter, "msg type=1024 hex=02000000" + "0800010008000300" + "06000900aabb0000",
			"1024 len=36 flags=0x0 seq=0 pid=0 a1:4 payload=2"},
		{"no packet elsewhere", uapi.NetlinkUsersock, "msg type=768 payload=12", "768 len=28 flags=0x0 seq=0 pid=0"},
		{"socket statistics", uapi.NetlinkSockDiag,
			"msg type=20 hex=10020002" + "64000000" + strings.Repeat("00", 20) +
				"14000200" + "00200000" + "02000000" + "00080000" + "08000000" + "06000100ffff0000",
			"20 len=72 flags=0x0 seq=0 pid=0 portid=main rx_ring=8192,2,2048,8 a1:2"},
	}
	p := printer{processes: map[uint32]string{100: "main"}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var buf []byte
			for _, line := range strings.Split(test.input, "\n") {
				var err error
				if buf, err = appendMessageLine(buf, line); err != nil {
					t.Fatal(err)
				}
			}
			got := strings.Join(p.messages(test.protocol, buf, false), "\n")
			if got != test.want {
				t.Errorf("printed\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// Printing must survive whatever a ring contains.
func FuzzMessages(f *testing.F) {
	for _, text := range []string{"00", "10000000010000000000000000000000", "1800000000030000000000000000000000000000"} {
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, buf []byte) {
		for _, protocol := range []int{uapi.NetlinkRoute, uapi.NetlinkNetfilter, uapi.NetlinkSockDiag} {
			lines := printer{}.messages(protocol, buf, true)
			if len(buf) > 0 && len(lines) == 0 {
				t.Error("nothing printed")
			}
		}
	})
}
