package guest

import (
	"io"
	"regexp"
	"strings"
	"sync"
)

// A Crash is what a kernel wrote when it died.
type Crash struct {
	First    string   // the first line: "BUG: unable to handle kernel NULL pointer dereference at 0000000000000010"
	Function string   // where the processor was; empty if the kernel does not tell
	Lines    []string // all lines from the first one on
}

// String is one line: "BUG: unable to handle ..., in netlink_dump".
func (c *Crash) String() string {
	if c.Function == "" {
		return c.First
	}
	return c.First + ", in " + c.Function
}

var (
	// stamp is what CONFIG_PRINTK_TIME puts in front of a message.
	stamp = regexp.MustCompile(`^(<\d>)?\[ *\d+\.\d{6}\] ?`)
	// death is the first line of a report after which a kernel does not go on, or should not.
	death = regexp.MustCompile(`^(BUG: unable to handle|BUG: soft lockup|BUG: spinlock |BUG: Bad |kernel BUG at|` +
		`general protection fault:|divide error:|invalid opcode:|stack segment:|double fault:|bad frame|` +
		`PANIC: |Kernel panic|NMI watchdog: BUG|INFO: rcu_\w+ (self-)?detected stalls?|watchdog: BUG|Oops: |` +
		`Oops: |kernel tried to execute|Unable to handle kernel|traps: PANIC)`)
	// place finds the function in lines like these:
	//
	//	IP: [<ffffffff8140b6f6>] netlink_dump+0x66/0x2a0
	//	RIP: 0010:[<ffffffff8140b6f6>]  [<ffffffff8140b6f6>] netlink_dump+0x66/0x2a0
	//	RIP: 0010:netlink_dump+0x66/0x2a0
	place = regexp.MustCompile(`^R?IP:?.*?\b([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+`)
)

// findCrash looks for the report of a crash in what a kernel wrote.
func findCrash(text string) *Crash {
	var c *Crash
	for line := range strings.Lines(text) {
		line = stamp.ReplaceAllString(strings.TrimRight(line, "\r\n"), "")
		if c == nil {
			if !death.MatchString(line) {
				continue
			}
			c = &Crash{First: strings.TrimSpace(line)}
		}
		c.Lines = append(c.Lines, line)
		if m := place.FindStringSubmatch(line); m != nil && c.Function == "" {
			c.Function = m[1]
		}
	}
	return c
}

// A console keeps what a kernel writes to its first serial line.
type console struct {
	copies []io.Writer

	mu     sync.Mutex
	text   strings.Builder
	bugged bool          // a line that reports a crash was seen
	crash  chan struct{} // closed then
	line   string        // the one that is being written
}

// longestConsole is how much is kept: a kernel may write for ever.
const longestConsole = 4 << 20

func newConsole() *console { return &console{crash: make(chan struct{})} }

// Write takes what the kernel wrote. It never fails: the machine goes on although nobody may be able to read along.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.copies {
		_, _ = w.Write(b)
	}
	if c.text.Len() < longestConsole {
		c.text.Write(b)
	}
	c.line += string(b)
	for {
		line, rest, whole := strings.Cut(c.line, "\n")
		if !whole {
			return len(b), nil
		}
		c.line = rest
		if !c.bugged && findCrash(line) != nil {
			c.bugged = true
			close(c.crash)
		}
	}
}

// String returns everything that was written.
func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}
