package scenario

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"nlmmap/uapi"
)

var socketDirectives = []form{
	{
		syntax:  compile("bind FD [portid=N] [groups=N] [family=N] [addrlen=N]"),
		help:    "binds to a port id and groups",
		example: "bind a portid=1000 groups=0x3",
		run:     bind,
	},
	{
		syntax:  compile("connect FD [portid=N] [groups=N] [family=N] [addrlen=N]"),
		help:    "sets the default destination",
		example: "connect a portid=2000",
		run:     connect,
	},
	{
		syntax:  compile("getsockname FD"),
		help:    "prints portid= groups=",
		example: "getsockname a",
		run:     getsockname,
	},
	{
		syntax:  compile("getpeername FD"),
		help:    "prints portid= groups= of what the socket is connected to",
		example: "getpeername a",
		run:     getpeername,
	},
	{
		syntax:  compile("setsockopt FD " + settable + "|rcvtimeo|sndtimeo|attach_reuseport_cbpf|busy_poll N [optlen=N]"),
		help:    "sets a socket option to a number of 4 bytes, or of optlen bytes, or a timeout to N milliseconds",
		example: "setsockopt a add_membership 3",
		run:     setsockopt,
	},
	{
		syntax:  compile("setsockopt FD level=N option=N value=N [optlen=N]"),
		help:    "sets an option that has no name here",
		example: "setsockopt a level=1 option=2 value=1",
		run:     setAnyOption,
	},
	{
		syntax:  compile("getsockopt FD " + settable + "|bpf_extensions|error|rx_ring|tx_ring [optlen=N]"),
		help:    "prints value=N, for a pending error its name",
		example: "getsockopt a error",
		run:     getsockopt,
	},
	{
		syntax:  compile("getsockopt FD level=N option=N [optlen=N]"),
		help:    "prints len= and the bytes of an option that has no name here, at most optlen (4 if not given)",
		example: "getsockopt a level=1 option=17 optlen=12",
		run:     getAnyOption,
	},
	{
		syntax:  compile("filter FD return=N"),
		help:    "attaches a classic BPF program that returns N",
		example: "filter a return=20",
		run:     attachFilter,
	},
	{
		syntax:  compile("filter FD off"),
		help:    "detaches the program",
		example: "filter a off",
		run:     detachFilter,
	},
	{
		syntax:  compile("stat FD [raw]"),
		help:    "the socket's line in /proc/net/netlink: portid= groups= rmem= dump=0|1 drops=; raw adds how often it is listed and the dump column as it is (pointer, if it is one)",
		example: "stat a",
		serial:  true,
		run:     stat,
	},
}

const settable = "add_membership|drop_membership|pktinfo|broadcast_error|no_enobufs|" +
	"rcvbuf|rcvbufforce|sndbuf|passcred|listen_all_nsid|list_memberships|cap_ack"

// An option is a socket option's level and number.
type option struct{ level, name int }

var options = map[string]option{
	"add_membership":        {uapi.SolNetlink, uapi.NetlinkAddMembership},
	"drop_membership":       {uapi.SolNetlink, uapi.NetlinkDropMembership},
	"pktinfo":               {uapi.SolNetlink, uapi.NetlinkPktinfo},
	"broadcast_error":       {uapi.SolNetlink, uapi.NetlinkBroadcastError},
	"no_enobufs":            {uapi.SolNetlink, uapi.NetlinkNoENOBUFS},
	"listen_all_nsid":       {uapi.SolNetlink, uapi.NetlinkListenAllNSID},
	"list_memberships":      {uapi.SolNetlink, uapi.NetlinkListMemberships},
	"cap_ack":               {uapi.SolNetlink, uapi.NetlinkCapAck},
	"rx_ring":               {uapi.SolNetlink, uapi.NetlinkRxRing},
	"tx_ring":               {uapi.SolNetlink, uapi.NetlinkTxRing},
	"rcvbuf":                {uapi.SolSocket, uapi.SoRcvbuf},
	"rcvbufforce":           {uapi.SolSocket, uapi.SoRcvbufforce},
	"sndbuf":                {uapi.SolSocket, uapi.SoSndbuf},
	"passcred":              {uapi.SolSocket, uapi.SoPasscred},
	"rcvtimeo":              {uapi.SolSocket, uapi.SoRcvtimeo},
	"bpf_extensions":        {uapi.SolSocket, uapi.SoBPFExtensions},
	"busy_poll":             {uapi.SolSocket, uapi.SoBusyPoll},
	"attach_reuseport_cbpf": {uapi.SolSocket, uapi.SoAttachReuseportCBPF},
	"sndtimeo":              {uapi.SolSocket, uapi.SoSndtimeo},
	"error":                 {uapi.SolSocket, uapi.SoError},
}

func bind(c *call) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	return ok(c.task.Bind(d.fd, c.args.address()))
}

func connect(c *call) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	return ok(c.task.Connect(d.fd, c.args.address()))
}

func getsockname(c *call) (string, error) { return c.name(c.task.Getsockname) }

func getpeername(c *call) (string, error) { return c.name(c.task.Getpeername) }

// name prints the address that get returns of a descriptor.
func (c *call) name(get func(fd int) ([]byte, error)) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	b, err := get(d.fd)
	if err != nil {
		return "", err
	}
	addr := uapi.ParseSockaddrNL(b)
	return fmt.Sprintf("portid=%s groups=0x%x", c.print.identity(addr.Pid), addr.Groups), nil
}

func setsockopt(c *call) (string, error) {
	o := options[c.args.word(1)]
	val := binary.LittleEndian.AppendUint32(nil, uint32(c.args.num(2)))
	if c.args.word(1) == "rcvtimeo" || c.args.word(1) == "sndtimeo" {
		val = timeval(c.args.num(2))
	}
	return c.setOption(o, val)
}

// setAnyOption sets an option that has no name.
func setAnyOption(c *call) (string, error) {
	return c.setOption(c.args.option(), binary.LittleEndian.AppendUint32(nil, uint32(c.args.get("value", 0))))
}

func (c *call) setOption(o option, val []byte) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	n, err := c.args.optlen(len(val))
	if err != nil {
		return "", err
	}
	return ok(c.task.Setsockopt(d.fd, o.level, o.name, resized(val, n)))
}

// option is one that is given by its numbers.
func (a args) option() option {
	return option{int(int32(a.get("level", 0))), int(int32(a.get("option", 0)))}
}

// timeval is a time in milliseconds as the options for timeouts take it (struct timeval).
func timeval(ms int64) []byte {
	val := binary.LittleEndian.AppendUint64(nil, uint64(ms/1000))
	return binary.LittleEndian.AppendUint64(val, uint64(ms%1000*1000))
}

func getsockopt(c *call) (string, error) {
	b, err := c.getOption(options[c.args.word(1)])
	if err != nil {
		return "", err
	}
	v := int32(binary.LittleEndian.Uint32(resized(b, 4)))
	if c.args.word(1) == "error" && v > 0 {
		return ErrnoName(unix.Errno(v)), nil
	}
	return fmt.Sprintf("value=%d", v), nil
}

// getAnyOption prints the bytes of an option that has no name.
func getAnyOption(c *call) (string, error) {
	b, err := c.getOption(c.args.option())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("len=%d hex=%x", len(b), b), nil
}

func (c *call) getOption(o option) ([]byte, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return nil, err
	}
	n, err := c.args.optlen(4)
	if err != nil {
		return nil, err
	}
	return c.task.Getsockopt(d.fd, o.level, o.name, n)
}

// optlen is the length that an option is passed with. A negative one is EINVAL whatever the option; of one that is
// longer than all options the rest is not passed, since nothing reads it.
func (a args) optlen(def int) (int, error) {
	n := int32(a.get("optlen", int64(def)))
	if n < 0 {
		return 0, unix.EINVAL
	}
	return min(int(n), 4096), nil
}

func attachFilter(c *call) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	insn, err := bpf.RetConstant{Val: uint32(c.args.get("return", 0))}.Assemble()
	if err != nil {
		return "", err
	}
	le := binary.LittleEndian
	program := append(le.AppendUint16(nil, insn.Op), insn.Jt, insn.Jf)
	program = le.AppendUint32(program, insn.K)
	return ok(c.task.Setsockopt(d.fd, uapi.SolSocket, uapi.SoAttachFilter, program))
}

func detachFilter(c *call) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	return ok(c.task.Setsockopt(d.fd, uapi.SolSocket, uapi.SoDetachFilter, make([]byte, 4)))
}

func stat(c *call) (string, error) {
	d, err := c.task.fd(c.args.word(0))
	if err != nil {
		return "", err
	}
	inode, err := c.task.Inode(d.fd)
	if err != nil {
		return "", err
	}
	text, err := c.target.Netlink()
	if err != nil {
		return "", err
	}
	row, found := findRow(text, inode)
	if !found {
		return "not listed", nil
	}
	line := fmt.Sprintf("portid=%s groups=0x%x rmem=%s dump=%d drops=%s",
		c.print.identity(row.portid), row.groups, row.rmem, row.dump, row.drops)
	if c.args.has("raw") {
		line += fmt.Sprintf(" rows=%d column=%s", row.rows, row.column)
	}
	return line, nil
}

// A statRow is what stat shows of a line of /proc/net/netlink.
type statRow struct {
	portid uint32
	groups uint64
	rmem   string
	dump   int
	drops  string
	column string // of the dump, without the pointer's value
	rows   int    // how often the socket is listed
}

// findRow returns the first row of a socket: old kernels may list it several times.
func findRow(text string, inode uint64) (row statRow, found bool) {
	const columns = 10 // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) < columns || f[9] != strconv.FormatUint(inode, 10) {
			continue
		}
		if row.rows++; row.rows > 1 {
			continue
		}
		portid, _ := strconv.ParseInt(f[2], 10, 64)
		row.portid = uint32(portid)
		row.groups, _ = strconv.ParseUint(f[3], 16, 64)
		row.rmem, row.dump, row.drops, row.column = f[4], dumping(f[6]), f[8], f[6]
		if len(row.column) > 1 && row.dump == 1 {
			row.column = "pointer"
		}
	}
	return row, row.rows > 0
}

// dumping reads the Dump column, which is a flag or, on old kernels, a pointer.
func dumping(column string) int {
	digits := strings.TrimPrefix(column, "0x")
	if column == "(null)" || strings.Trim(digits, "0") == "" {
		return 0
	}
	return 1
}
