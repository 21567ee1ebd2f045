package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"nlmmap/capture"
	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/scenario/sim"
)

// captured runs a scenario and returns what was written of it.
func captured(version kernel.Version, text string) ([]byte, error) {
	f, err := scenario.Parse("test", strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	c, err := capture.New(&file, version, time.Unix(0, 0))
	if err != nil {
		return nil, err
	}
	m, err := sim.New(sim.Config{Version: version, Trace: c.Record, Quiet: true})
	if err != nil {
		return nil, err
	}
	scenario.Run(m, f)
	return file.Bytes(), errors.Join(m.Close(), c.Err())
}

const talk = `socket a route

bind a portid=77

ring a rx block_size=4096 block_nr=1 frame_size=2048 frame_nr=2

mmap a m

sleep ms=5

send a
msg type=noop flags=request,ack seq=1

socket u usersock

bind u portid=78 groups=0x1

socket v usersock

send v groups=0x1
msg type=100 seq=2 payload=4 byte=7

send a
msg type=getlink flags=request,dump seq=3 hex=00000000000000000000000000000000

recv a

recv a
`

// A request, its answer in a frame of a ring, a message between programs, and a dump.
func Example() {
	file, err := captured(kernel.Version{Release: kernel.Linux4_4}, talk)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(file), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		data, info, err := r.ReadPacketData()
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		to := map[uint16]string{6: "to a program", 7: "to the kernel"}[binary.BigEndian.Uint16(data)]
		fmt.Printf("%v %s: protocol %d, %d bytes, type %d\n", info.Timestamp.Sub(time.Unix(0, 0)), to, data[15], len(data)-16, binary.NativeEndian.Uint16(data[20:]))
	}
	// Output:
	// 5ms to the kernel: protocol 0, 16 bytes, type 1
	// 5ms to a program: protocol 0, 36 bytes, type 2
	// 5ms to a program: protocol 2, 20 bytes, type 100
	// 5ms to the kernel: protocol 0, 32 bytes, type 18
	// 5ms to a program: protocol 0, 1172 bytes, type 16
	// 5ms to a program: protocol 0, 20 bytes, type 3
}

// TestSame: a run is written in the same bytes each time.
func TestSame(t *testing.T) {
	for _, release := range kernel.Releases() {
		a, err := captured(kernel.Version{Release: release}, talk)
		if err != nil {
			t.Fatal(err)
		}
		b, err := captured(kernel.Version{Release: release}, talk)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%v: written in %d bytes, and then in %d others", release, len(a), len(b))
		}
	}
}

// TestTshark: tshark reads the protocol, the types and the attributes.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("there is no tshark: what it reads in a file is not looked at")
	}
	world, err := os.ReadFile(filepath.Join("..", "testdata", "worlds", "small.txt"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := captured(kernel.Version{Release: kernel.Linux3_10}, string(world))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "world.pcapng")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tshark, "-r", path, "-Y", "netlink-route.nltype && netlink.hdr_flags.create == 1", "-T", "fields",
		"-e", "frame.packet_flags_direction", "-e", "netlink.family", "-e", "netlink-route.nltype", "-e", "netlink-route.ifla_ifname", "-e", "netlink-route.rt_dst_len", "-e", "netlink-route.ifa_prefixlen")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	const want = "0x00000002\t0x0000\t16\tdummy0\t\t\n" +
		"0x00000002\t0x0000\t20\t\t\t24\n" +
		"0x00000002\t0x0000\t28\t\t\t\n" +
		"0x00000002\t0x0000\t24\t\t16\t\n"
	if string(out) != want {
		t.Errorf("tshark reads\n%s, not\n%s", out, want)
	}
}

// TestFull: where a file takes no more, that is said, and the machine goes on.
func TestFull(t *testing.T) {
	if _, err := capture.New(&full{}, kernel.Version{}, time.Time{}); err == nil {
		t.Error("a file that takes nothing was begun")
	}
	c, err := capture.New(&full{room: 300}, kernel.Version{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := sim.New(sim.Config{Trace: c.Record, Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	f, err := scenario.Parse("test", strings.NewReader(talk))
	if err != nil {
		t.Fatal(err)
	}
	scenario.Run(m, f)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if !errors.Is(c.Err(), errFull) {
		t.Errorf("the file was full, and the error is %v", c.Err())
	}
}

var errFull = errors.New("full")

// A full file takes some bytes, and no more.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return 0, errFull
	}
	f.room -= len(p)
	return len(p), nil
}
