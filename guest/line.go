package guest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
)

// A Line carries messages over a stream of bytes, in both directions: each message is a line of text, the checksum of the
// message in eight hexadecimal digits and the message as JSON. A control character never occurs in it, so a terminal
// driver has nothing to interpret.
type Line struct {
	w io.Writer
	r *bufio.Reader
}

// NewLine returns a line over a stream.
func NewLine(rw io.ReadWriter) *Line { return &Line{w: rw, r: bufio.NewReader(rw)} }

// Send writes one message.
func (l *Line) Send(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.w, "%08x %s\n", crc32.ChecksumIEEE(text), text)
	return err
}

// Receive reads the next message. The error is a *Garbled if what came is none.
func (l *Line) Receive(v any) error {
	text, err := l.r.ReadString('\n')
	if err != nil {
		return err
	}
	body, err := unwrap(text)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// unwrap checks a line and returns the message in it.
func unwrap(line string) ([]byte, error) {
	const digits = 8
	var sum uint32
	if n, err := fmt.Sscanf(line, "%08x ", &sum); n != 1 || err != nil || len(line) < digits+2 {
		return nil, &Garbled{line}
	}
	body := []byte(line[digits+1 : len(line)-1])
	if crc32.ChecksumIEEE(body) != sum {
		return nil, &Garbled{line}
	}
	return body, nil
}

// Garbled is a line that arrived damaged.
type Garbled struct{ Text string }

func (g *Garbled) Error() string {
	return fmt.Sprintf("a damaged message on the second serial line: %.80q", g.Text)
}
