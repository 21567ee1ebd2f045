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

// TestMessageForms: messages that are written by name are those that recordings have as bytes.
func TestMessageForms(t *testing.T) {
	for named, plain := range map[string]string{
		"nfqueue bind seq=1":                         "msg type=0x302 flags=request,ack seq=1 payload=12 hex=000000000800010001000002",
		"nfqueue unbind queue=3":                     "msg type=0x302 flags=request,ack payload=12 hex=000000030800010002000002",
		"nfqueue config copy=meta":                   "msg type=0x302 flags=request,ack payload=16 hex=00000000090002000000000001000000",
		"nfqueue config copy=packet":                 "msg type=0x302 flags=request,ack payload=16 hex=00000000090002000000ffff02000000",
		"nfqueue config copy=packet range=0x100":     "msg type=0x302 flags=request,ack payload=16 hex=00000000090002000000010002000000",
		"nfqueue config maxlen=2":                    "msg type=0x302 flags=request,ack payload=12 hex=000000000800030000000002",
		"nfqueue config set=uid_gid":                 "msg type=0x302 flags=request,ack payload=20 hex=000000000800040000000008" + "0800050000000008",
		"nfqueue config set=0 mask=fail_open":        "msg type=0x302 flags=request,ack payload=20 hex=000000000800040000000001" + "0800050000000000",
		"nfqueue verdict accept id=9 seq=4":          "msg type=0x301 flags=request seq=4 payload=16 hex=000000000c0002000000000100000009",
		"nfqueue batch drop id=4 mark=7 flags=0":     "msg type=0x303 payload=24 hex=000000000c00020000000000000000040800030000000007",
		"nfqueue verdict 0x10003 id=1 replace=ab":    "msg type=0x301 flags=request payload=24 hex=000000000c00020000010003000000010500" + "0a00ab000000",
		"nflog bind group=1":                         "msg type=0x401 flags=request,ack payload=12 hex=000000010500010001000000",
		"nflog config group=1 qthresh=3":             "msg type=0x401 flags=request,ack payload=12 hex=000000010800050000000003",
		"nflog config group=1 copy=packet":           "msg type=0x401 flags=request,ack payload=16 hex=000000010a0002000000ffff02000000",
		"nflog config set=seq,seq_global timeout=5":  "msg type=0x401 flags=request,ack payload=20 hex=000000000800040000000005" + "0600060000030000",
		"diag protocol=route show=rings":             "msg type=20 flags=request,dump payload=20 hex=1000000000000000040000000000000000000000",
		"diag show=groups,meminfo type=21 family=40": "msg type=21 flags=request,dump payload=20 hex=28ff000000000000030000000000000000000000",
		"audit get len=17":                           "msg type=1000 flags=request len=17",
		"audit set enabled=1 backlog_limit=64":       "msg type=1001 flags=request payload=32 hex=1100000001" + "000000000000000000000000000000" + "40",
	} {
		got, err := appendMessageLine(nil, named)
		if err != nil {
			t.Errorf("%s: %v", named, err)
			continue
		}
		want, err := appendMessageLine(nil, plain)
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(got) != hex.EncodeToString(want) {
			t.Errorf("%s:\n%x\nwant\n%x", named, got, want)
		}
	}
}

// TestNames: with names on, types and attributes print by name; what has none prints as ever.
func TestNames(t *testing.T) {
	for _, test := range []struct {
		protocol    int
		input, want string
	}{
		{uapi.NetlinkNetfilter, "nfqueue verdict accept id=1", "nfqueue_verdict len=32 flags=0x1 seq=0 pid=0"},
		{uapi.NetlinkNetfilter, "msg type=0x300 hex=02000005" + "0b0001000000000108000300" + "080003000000000c" + "0800ff0000000000" + "06000a00abcd",
			"nfqueue_packet len=54 flags=0x0 seq=0 pid=0 queue=5 packet=1 proto=0x800 hook=3 mark=0xc a255:4 payload=2"},
		{uapi.NetlinkNetfilter, "msg type=0x400 hex=02000001" + "0800010008000300" + "07000a0061620000" + "08000c0000000002",
			`nflog_packet len=44 flags=0x0 seq=0 pid=0 group=1 proto=0x800 hook=3 prefix="ab" seq=2`},
		{uapi.NetlinkAudit, "audit set enabled=1", "audit_set len=48 flags=0x1 seq=0 pid=0"},
		{uapi.NetlinkAudit, "msg type=1000 hex=00000000010000000200000003000000",
			"audit_get len=32 flags=0x0 seq=0 pid=0 enabled=1 failure=2 daemon=3"},
		{uapi.NetlinkUsersock, "audit get", "1000 len=16 flags=0x1 seq=0 pid=0"},
	} {
		buf, err := appendMessageLine(nil, test.input)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join((printer{named: true}).messages(test.protocol, buf, false), "\n"); got != test.want {
			t.Errorf("%s\nprints %s\nwant   %s", test.input, got, test.want)
		}
	}
}
