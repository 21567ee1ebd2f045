package scenario

import (
	"encoding/hex"
	"fmt"
	"strings"

	"nlmmap/uapi"
)

// A layout is what has to be known of a message of a route socket to print its attributes: the length of the header
// in front of them, which of them have attributes themselves, and which bytes say when something happened, or how often,
// so that they are no result. An attribute inside of another is named with a path: "18/1".
type layout struct {
	header int
	nests  []string
	varies map[string][]span
}

// A span is a range of bytes; end 0 stands for the end of the attribute.
type span struct{ begin, end int }

var (
	all      = []span{{0, 0}}
	linkForm = layout{header: 16, nests: []string{"12", "18", "26", "26/2", "26/10"}, varies: map[string][]span{
		"14":      {{28, 32}}, // padding that nobody sets
		"12/3":    all,        // statistics of IPv6, for a dump of that
		"12/5":    {{4, 12}},
		"12/6":    all,
		"7":       all,       // statistics
		"23":      all,       // the same with 64 bits
		"26/10/3": all,       // statistics of IPv6
		"26/10/5": {{4, 12}}, // when it changed, reachable time
		"26/10/6": all,       // statistics of ICMPv6
	}}
	addrForm  = layout{header: 8, varies: map[string][]span{"6": {{8, 16}}}} // when it was made and changed
	routeForm = layout{header: 12, nests: []string{"8"}, varies: map[string][]span{
		"12": {{0, 8}, {16, 20}}, // references, last use, how often it was used
	}}
	neighForm    = layout{header: 12, varies: map[string][]span{"3": all}} // when it was used, references
	ruleForm     = layout{header: 12}
	neightblForm = layout{header: 4, nests: []string{"6"}, varies: map[string][]span{
		"5":   {{4, 28}}, // entries, last flush, hash
		"6/3": all,       // reachable time
		"7":   all,       // statistics
	}}
	netconfForm = layout{header: 4} // one byte and its padding
)

// layouts by type of message, divided by 4: NEW, DEL, GET and SET of an object look alike.
var layouts = map[uint16]layout{
	uapi.RTMNewlink / 4: linkForm, uapi.RTMNewaddr / 4: addrForm, uapi.RTMNewroute / 4: routeForm,
	uapi.RTMNewneigh / 4: neighForm, uapi.RTMNewrule / 4: ruleForm,
	58 / 4: addrForm, 62 / 4: addrForm, // groups that a device is in
	64 / 4: neightblForm, 72 / 4: {header: 12, varies: map[string][]span{"": {{1, 2}, {3, 4}, {8, 12}}}}, 80 / 4: netconfForm, 88 / 4: netconfForm,
}

// attributeLines prints a message of a route socket: the header of its type, then each attribute on a line, its type
// and its bytes. Bytes that are no result are dots.
func attributeLines(typ uint16, payload []byte) []string {
	form, ok := layouts[typ/4]
	if !ok || typ < uapi.RTMNewlink || len(payload) < form.header {
		return []string{"  " + hex.EncodeToString(payload)}
	}
	lines := []string{"  " + form.text("", payload[:form.header])}
	return append(lines, form.attributes("", payload[form.header:])...)
}

func (f *layout) attributes(path string, b []byte) (lines []string) {
	for a, err := range uapi.Attrs(b, 0) {
		if err != nil {
			return append(lines, "  malformed")
		}
		here := strings.TrimPrefix(fmt.Sprintf("%s/%d", path, a.Type), "/")
		if f.nested(here) && len(a.Data) > 0 {
			lines = append(append(lines, fmt.Sprintf("  %d:", a.Type)), indent(f.attributes(here, a.Data))...)
			continue
		}
		lines = append(lines, fmt.Sprintf("  %d %s", a.Type, f.text(here, a.Data)))
	}
	return lines
}

// text prints the bytes of an attribute, or of the header, which has no path.
func (f *layout) text(path string, data []byte) string {
	const long = 32
	text := []byte(hex.EncodeToString(data))
	for _, s := range f.varies[path] {
		if s.end == 0 {
			s.end = len(data)
		}
		for i := 2 * s.begin; i < min(2*s.end, len(text)); i++ {
			text[i] = '.'
		}
	}
	if len(data) > long && strings.Trim(string(text), ".") == "" {
		return fmt.Sprintf("%d bytes", len(data))
	}
	return string(text)
}

func (f *layout) nested(path string) bool {
	for _, n := range f.nests {
		if n == path {
			return true
		}
	}
	return false
}
