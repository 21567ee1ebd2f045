package scenario

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nlmmap/uapi"
)

// A syntax is what one form of a directive takes. It is compiled from the usage line that the help shows:
//
//	recv FD rx|tx n=BYTES [size=BYTES] [peek]
//
// An upper-case word is a positional argument of that kind, a lower-case word is itself (or one of several),
// key=KIND is a named argument, and brackets make an argument optional. Every directive takes in=TASK.
type syntax struct {
	usage      string
	positional []string            // kinds
	named      map[string]argument // key=KIND
	flags      []string
}

type argument struct {
	kind     string
	required bool
}

func compile(usage string) syntax {
	s := syntax{usage: usage, named: map[string]argument{"in": {kind: "TASK"}}}
	for _, word := range strings.Fields(usage)[1:] {
		inner := strings.TrimSuffix(strings.TrimPrefix(word, "["), "]")
		optional := inner != word
		if key, kind, ok := strings.Cut(inner, "="); ok {
			s.named[key] = argument{kind, !optional}
		} else if optional {
			s.flags = append(s.flags, inner)
		} else {
			s.positional = append(s.positional, inner)
		}
	}
	return s
}

// args are the arguments of a step: positional ones in order, the others by name.
type args struct {
	positional []value
	named      map[string]value
}

// A value is an argument: its text, and the number (or, for FRAMES, the range) that it stands for.
type value struct {
	text string
	num  int64
	last int64
}

func (a args) word(i int) string { return a.positional[i].text }
func (a args) num(i int) int64   { return a.positional[i].num }

func (a args) has(name string) bool {
	_, ok := a.named[name]
	return ok
}

// text and get return a named argument, or the default if it was not given.
func (a args) text(name, def string) string {
	if v, ok := a.named[name]; ok {
		return v.text
	}
	return def
}

func (a args) get(name string, def int64) int64 {
	if v, ok := a.named[name]; ok {
		return v.num
	}
	return def
}

// bind checks words against the syntax. With an error it also tells how many words fitted.
func (s syntax) bind(words []string) (a args, matched int, err error) {
	a.named = map[string]value{}
	for _, word := range words {
		key, text, isNamed := strings.Cut(word, "=")
		switch {
		case isNamed:
			err = s.bindNamed(&a, key, text)
		case len(a.positional) < len(s.positional):
			err = s.bindPositional(&a, word)
		default:
			err = s.bindFlag(&a, word)
		}
		if err != nil {
			return a, matched, err
		}
		matched++
	}
	return a, matched, s.missing(a)
}

func (s syntax) bindNamed(a *args, key, text string) error {
	arg, ok := s.named[key]
	if !ok {
		return fmt.Errorf("unknown argument %q%s", key+"=", suggest(key, s.names()))
	}
	if a.has(key) {
		return fmt.Errorf("%s= is given twice", key)
	}
	v, err := parseValue(arg.kind, text)
	if err != nil {
		return fmt.Errorf("%s=%s: %w", key, shorten(text), err)
	}
	a.named[key] = v
	return nil
}

func (s syntax) bindPositional(a *args, word string) error {
	v, err := parseValue(s.positional[len(a.positional)], word)
	if err != nil {
		return fmt.Errorf("%s: %w", shorten(word), err)
	}
	a.positional = append(a.positional, v)
	return nil
}

func (s syntax) bindFlag(a *args, word string) error {
	for _, flag := range s.flags {
		if word != flag {
			continue
		}
		if a.has(word) {
			return fmt.Errorf("%s is given twice", word)
		}
		a.named[word] = value{text: word}
		return nil
	}
	if arg, ok := s.named[word]; ok {
		return fmt.Errorf("%s needs a value: expected %s=%s", word, word, arg.kind)
	}
	return fmt.Errorf("unexpected argument %q%s", shorten(word), suggest(word, s.names()))
}

func (s syntax) missing(a args) error {
	if n := len(a.positional); n < len(s.positional) {
		return fmt.Errorf("missing argument: expected %s", strings.Join(s.positional[n:], " "))
	}
	for _, word := range strings.Fields(s.usage) { // in the order of the usage line
		key, kind, _ := strings.Cut(word, "=")
		if s.named[key].required && !a.has(key) {
			return fmt.Errorf("missing argument: expected %s=%s", key, kind)
		}
	}
	return nil
}

// names lists what an argument can be called, in the order of the usage line.
func (s syntax) names() []string {
	names := append([]string(nil), s.flags...)
	for _, word := range strings.Fields(s.usage) {
		if key, _, ok := strings.Cut(strings.Trim(word, "[]"), "="); ok {
			names = append(names, key)
		}
	}
	return append(names, "in")
}

// splitWords splits a directive at its spaces, but not at those inside of a quoted text: prefix="two words".
func splitWords(line string) []string {
	var words []string
	for line = strings.TrimLeft(line, " \t"); line != ""; line = strings.TrimLeft(line, " \t") {
		end := strings.IndexAny(line, " \t")
		if at := strings.Index(line, `="`); at >= 0 && (end < 0 || at < end) {
			if quoted, err := strconv.QuotedPrefix(line[at+1:]); err == nil {
				end = at + 1 + len(quoted)
			}
		}
		if end < 0 {
			end = len(line)
		}
		words, line = append(words, line[:end]), line[end:]
	}
	return words
}

// Limits keep a mistyped number from taking the memory or the time of the machine that runs the scenario.
const (
	maxBuffer = 1 << 24
	maxCount  = 1 << 24
	maxSize   = 1 << 40
	maxMillis = 600_000
)

// parseValue reads an argument of the given kind: one of the upper-case kinds, or lower-case words.
func parseValue(kind, text string) (value, error) {
	v := value{text: text}
	var err error
	switch kind {
	case "FD", "NEW", "EP", "A", "B", "T", "MAP", "CHILD", "NAME", "TASK", "KERNEL", "JOB", "KEY", "DEV":
		if text == "" {
			err = fmt.Errorf("expected a name")
		}
	case "N":
		v.num, err = parseNumber(text, -1<<31, 1<<32-1)
	case "BYTE":
		v.num, err = parseNumber(text, 0, 255)
	case "BYTES":
		v.num, err = parseNumber(text, 0, maxBuffer)
	case "COUNT":
		v.num, err = parseNumber(text, 0, maxCount)
	case "SIZE":
		v.num, err = parseNumber(text, 0, maxSize)
	case "MS":
		v.num, err = parseNumber(text, -1, maxMillis)
	case "FRAME":
		v.num, err = parseNumber(text, 0, 1<<32-1)
	case "FRAMES":
		v.num, v.last, err = parseFrames(text)
	case "PROTO":
		v.num, err = parseNamed(text, protocolNames, -1<<31, 1<<31-1)
	case "STATUS":
		v.num, err = parseNamed(text, statusNames, 0, 1<<32-1)
	case "TYPE":
		v.num, err = parseNamed(text, messageTypes, 0, 1<<16-1)
	case "FLAGS":
		v.num, err = parseMask(text, messageFlags, 1<<16-1)
	case "EVENTS":
		v.num, err = parseMask(text, pollEvents, 1<<16-1)
	case "VERDICT":
		v.num, err = parseNamed(text, verdicts, 0, 1<<32-1)
	case "QFLAGS":
		v.num, err = parseMask(text, queueFlags, 1<<32-1)
	case "LFLAGS":
		v.num, err = parseMask(text, logFlags, 1<<16-1)
	case "DIAGPROTO":
		v.num, err = parseNamed(text, diagProtocols, 0, 255)
	case "SHOW":
		v.num, err = parseMask(text, diagShow, 1<<32-1)
	case "AUDIT":
		v.num, err = parseNamed(text, auditTypes, 0, 1<<16-1)
	case "PREFIX":
		_, err = parsePrefix(text)
	case "DST":
		if text != defaultRoute {
			_, err = parsePrefix(text)
		}
	case "ADDR":
		err = checkAddr(text)
	case "MAC":
		_, err = parseMAC(text)
	case "TEXT":
		v.text, err = parseText(text)
	case "HEX":
		_, err = parseHex(text)
	default:
		err = checkWord(text, strings.Split(kind, "|"))
	}
	return v, err
}

// parseText reads a word, or a text with spaces in quotation marks.
func parseText(text string) (string, error) {
	if !strings.HasPrefix(text, `"`) {
		return text, nil
	}
	unquoted, err := strconv.Unquote(text)
	if err != nil {
		return "", fmt.Errorf("expected quotation marks around a text with spaces")
	}
	return unquoted, nil
}

func checkWord(text string, words []string) error {
	for _, w := range words {
		if text == w {
			return nil
		}
	}
	return fmt.Errorf("expected %s%s", strings.Join(words, ", "), suggest(text, words))
}

// parseNumber reads a decimal number, or a hexadecimal one with 0x, between least and most.
func parseNumber(text string, least, most int64) (int64, error) {
	digits, base := text, 10
	if rest, ok := strings.CutPrefix(text, "0x"); ok {
		digits, base = rest, 16
	}
	n, err := strconv.ParseInt(digits, base, 64)
	if err != nil || base == 16 && n < 0 || strings.HasPrefix(digits, "+") {
		return 0, fmt.Errorf("expected a number (decimal, or hexadecimal with 0x)")
	}
	if n < least || n > most {
		return 0, fmt.Errorf("expected a number from %d to %d", least, most)
	}
	return n, nil
}

// parseFrames reads 3, 0-2 or all; for all, last is -1.
func parseFrames(text string) (first, last int64, err error) {
	if text == "all" {
		return 0, -1, nil
	}
	a, b, isRange := strings.Cut(text, "-")
	first, err = parseNumber(a, 0, 1<<32-1)
	last = first
	if err == nil && isRange {
		last, err = parseNumber(b, 0, 1<<32-1)
	}
	if err != nil || last < first {
		return 0, 0, fmt.Errorf("expected frames like 3, 0-2 or all")
	}
	return first, last, nil
}

// A name is a word of the language that stands for a number.
type name struct {
	text string
	num  int64
}

func parseNamed(text string, names []name, least, most int64) (int64, error) {
	var words []string
	for _, n := range names {
		if n.text == text {
			return n.num, nil
		}
		words = append(words, n.text)
	}
	n, err := parseNumber(text, least, most)
	if err != nil {
		return 0, fmt.Errorf("expected a number or one of %s%s", strings.Join(words, " "), suggest(text, words))
	}
	return n, nil
}

// parseMask reads names joined by commas, or a number.
func parseMask(text string, names []name, most int64) (int64, error) {
	var mask int64
	for _, part := range strings.Split(text, ",") {
		n, err := parseNamed(part, names, 0, most)
		if err != nil {
			return 0, err
		}
		mask |= n
	}
	return mask, nil
}

func nameOf(num int64, names []name) string {
	for _, n := range names {
		if n.num == num {
			return n.text
		}
	}
	return strconv.FormatInt(num, 10)
}

// wordsFor makes words of what the kernel's headers call numbers: lower case, without the prefix. The language has words
// for the given values only, for all if none is given; others are written and printed as numbers.
func wordsFor(names uapi.Names, prefix string, values ...int) []name {
	var words []name
	for _, n := range names {
		if len(values) == 0 || slices.Contains(values, n.Value) {
			words = append(words, name{strings.ToLower(strings.TrimPrefix(n.Name, prefix)), int64(n.Value)})
		}
	}
	return words
}

var protocolNames = append(wordsFor(uapi.Protocols, "NETLINK_", uapi.NetlinkRoute, uapi.NetlinkUsersock,
	uapi.NetlinkSockDiag, uapi.NetlinkXFRM, uapi.NetlinkISCSI, uapi.NetlinkAudit, uapi.NetlinkFIBLookup,
	uapi.NetlinkConnector, uapi.NetlinkNetfilter, uapi.NetlinkGeneric), name{"uevent", uapi.NetlinkKobjectUevent})

var statusNames = wordsFor(uapi.FrameStates, "")

// pollEvents are in the order in which revents prints them.
var pollEvents = wordsFor(uapi.PollEvents, "POLL")
