package scenario

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const litmusFile = `# Who comes first?
socket a usersock
----
ok

fork c

# All at once.
parallel
# p has the smaller number.
thread p
  bind a portid=5
  send a portid=6
    msg type=100 seq=1
    raw bytes=4
thread q of=c
  recv a wait
task c
  poll a timeout=-1

getsockname a

# Not yet known.
outcomes 3.10.4 weak

outcomes 4.4.1 sc
----
p: ok, 20; q: blocks; c: revents=out; portid=5 groups=0x0

# The end.
`

func TestParseBlock(t *testing.T) {
	f := parseString(t, litmusFile)
	if len(f.Steps) != 2 || len(f.Final) != 1 || f.Block == nil || f.Block.Line != 9 || len(f.Trailer) != 1 {
		t.Fatalf("parsed %+v", f)
	}
	var got []string
	for _, th := range f.Block.Threads {
		got = append(got, th.Name+"<"+th.Of)
		for _, s := range th.Steps {
			got = append(got, s.Directive)
		}
	}
	want := []string{"p<main", "bind a portid=5", "send a portid=6", "q<c", "recv a wait", "c<", "poll a timeout=-1"}
	if !slices.Equal(got, want) {
		t.Errorf("threads %q, want %q", got, want)
	}
	if send := f.Block.Threads[0].Steps[1]; send.Line != 13 || len(send.msgs) != 20 {
		t.Errorf("send is in line %d with %d bytes", send.Line, len(send.msgs))
	}
	first, second := f.Outcomes[0], f.Outcomes[1]
	if first.Recorded || first.Kernel != "3.10.4" || first.Memory != "weak" || !second.Recorded || len(second.Set) != 1 {
		t.Errorf("outcomes %+v", f.Outcomes)
	}
	if text := format(t, f); text != litmusFile {
		t.Errorf("formatted\n%s", text)
	}
}

func TestParseBlockErrors(t *testing.T) {
	const block = "parallel\nthread p\n  close a\n"
	tests := []struct {
		name, text, want string
	}{
		{"two blocks", block + "\n" + block, "t:5: a second parallel block: the first one is in line 1"},
		{"argument", "parallel p\n", `t:1: unexpected argument "p"`},
		{"no threads", "parallel\n\nclose a\n", "t:1: a parallel block without threads"},
		{"only a comment", "parallel\n# p\n", "t:1: a parallel block without threads"},
		{"typo", "paralel\n", `unknown directive "paralel": did you mean "parallel"?`},
		{"thread without directives", "parallel\nthread p\nthread q\n  close a\n", "t:3: p has no directives"},
		{"last thread without directives", block + "thread q\n", "t:4: q has no directives"},
		{"unknown task", "fork child\n\nparallel\nthread p of=chidl\n  close a\n", `t:4: of=chidl: no step before makes a task of that name: did you mean "child"?`},
		{"unknown task itself", "parallel\ntask c\n  close a\n", "t:2: no step before makes a task c"},
		{"name of a task", "fork c\n\nparallel\nthread c\n  close a\n", `t:4: c is a task already: "task c" lets it run`},
		{"twice", block + "thread p\n  close a\n", "t:4: p is there twice"},
		{"thread without a name", "parallel\nthread\n", "t:2: missing argument: expected NAME"},
		{"in= of a thread", "parallel\nthread p in=main\n", `t:2: unknown argument "in="`},
		{"directive too early", "parallel\n  close a\n", "t:2: expected thread NAME or task TASK, without indentation"},
		{"directive without indentation", "parallel\nthread p\nclose a\n", "t:3: p has no directives"},
		{"second directive without indentation", block + "close b\n", "t:4: expected thread NAME [of=TASK] or task TASK"},
		{"message first", "parallel\nthread p\n    msg type=1\n", "t:3: a message line without a directive"},
		{"one space", "parallel\nthread p\n close a\n", "t:3: indented by 1 spaces: expected none for a thread, two"},
		{"six spaces", "parallel\nthread p\n  send a\n      msg type=1\n", "t:4: indented by 6 spaces"},
		{"tab", "parallel\nthread p\n\tclose a\n", "t:3: p has no directives"},
		{"message of no sender", "parallel\nthread p\n  close a\n    msg type=1\n", "t:4: close takes no message lines"},
		{"bad message", "parallel\nthread p\n  send a\n    msg typ=1\n", `t:4: unknown argument "typ="`},
		{"bad directive", "parallel\nthread p\n  clsoe a\n", `t:3: unknown directive "clsoe"`},
		{"sleep", "parallel\nthread p\n  sleep ms=1\n", "t:3: sleep is not allowed in a parallel block"},
		{"thread inside", "parallel\nthread p\n  thread r\n", "t:3: thread is not allowed in a parallel block"},
		{"in=", "parallel\nthread p\n  close a in=main\n", "t:3: in= is not allowed in a parallel block"},
		{"timeout", "parallel\nthread p\n  poll a timeout=20\n", "t:3: timeout=20: in a parallel block a call waits for ever"},
		{"output", block + "----\nok\n", "t:4: a parallel block has no output"},
		{"output of a final step", block + "\nclose a\n----\nok\n", "t:5: a step behind the parallel block has no output of its own"},
		{"outcomes without a block", "close a\n\noutcomes 4.4.1 sc\n", "t:3: outcomes without a parallel block"},
		{"outcomes twice", block + "\noutcomes 4.4.1 sc\n\noutcomes 4.4.1 sc\n", "t:7: the outcomes of 4.4.1 sc are there twice: before in line 5"},
		{"memory model", block + "\noutcomes 4.4.1 strong\n", "t:5: strong: expected sc, tso, weak"},
		{"no memory model", block + "\noutcomes 4.4.1\n", "t:5: missing argument: expected sc|tso|weak"},
		{"outcomes without a line", block + "\noutcomes 4.4.1 sc\np: ok\n", "t:6: expected ---- or an empty line after outcomes"},
		{"step behind outcomes", block + "\noutcomes 4.4.1 sc\n\nclose a\n", "t:7: a step after the outcomes"},
		{"block behind outcomes", block + "\noutcomes 4.4.1 sc\n\n" + block, "t:7: a second parallel block"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("t", strings.NewReader(test.text))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is\n%v\nwant in it\n%s", err, test.want)
			}
			if e := new(Error); !errors.As(err, &e) {
				t.Errorf("error is a %T", err)
			}
		})
	}
}

// TestStoppedParts: what has not come to an end when a part is stopped blocks, and nothing behind it is made.
func TestStoppedParts(t *testing.T) {
	f := parseString(t, "parallel\ntask main\n  socket a usersock\n  socket b usersock\n  socket c usersock\n")
	made := 0
	var p *Part
	r := NewRunner(stub{socket: func() {
		if made++; made == 2 {
			if p.Present() != "socket" || p.Done() || p.Left() {
				t.Errorf("in %q, done %v, left %v", p.Present(), p.Done(), p.Left())
			}
			p.Stop()
		}
	}})
	parts, err := r.Begin(f.Block)
	if err != nil {
		t.Fatal(err)
	}
	p = parts[0]
	p.Run(func() bool { return false })
	if got := Outcome(parts, nil); got != "main: ok, blocks, blocks" || made != 2 || !p.Left() || p.Done() {
		t.Errorf("%s after %d sockets, left %v", got, made, p.Left())
	}
}
