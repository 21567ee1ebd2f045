package explore

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var updateMutants = flag.Bool("update-mutants", false, "write docs/mutants.md from what TestMutants finds")

// A mutant is the 4.5.7 model with one thing switched off, by an edit of its source.
type mutant struct {
	Name string // what is switched off
	File string
	Edit []string // old text, which is unique in the file, and new text, in turns
	// By are the programs, with their memory models, and the recordings that are to catch it.
	By []string
	// Survives explains why nothing can catch it.
	Survives string
}

const (
	allocFile   = "afnetlink/alloc.go"
	deliverFile = "afnetlink/deliver.go"
	dumpFile    = "afnetlink/dump.go"
	pollFile    = "afnetlink/poll.go"
	recvFile    = "afnetlink/recv.go"
	ringFile    = "afnetlink/ring.go"
	sendFile    = "afnetlink/send.go"
	sockFile    = "afnetlink/sock.go"
	tableFile   = "afnetlink/table.go"
	txFile      = "afnetlink/txframe.go"
	ringmmFile  = "ringmm/ringmm.go"
	baseFile    = "sock/sock.go"
	lockFile    = "kernel/lock.go"
	waitFile    = "kernel/wait.go"
	kpollFile   = "kernel/poll.go"
	nflogFile   = "subsys/nflog/packet.go"
	nfqueueFile = "subsys/nfqueue/packet.go"
)

func mutants() []mutant {
	return []mutant{
		// Barriers and what orders memory.
		{Name: "barrier before the store of a frame's status", File: ringmmFile, By: []string{"reader-and-ack weak"},
			Edit: []string{"\tif f.ring.d.SetStatusBarrier {\n\t\tcur.CPU().Barrier(mm.SmpMB)\n\t}\n", ""}},
		{Name: "full barrier of an atomic operation that drops a reference", File: lockFile, By: []string{"reader-and-acks tso", "reader-and-acks weak", "two-kicks weak", "dump-and-close weak", "close-under-delivery weak"},
			Edit:     []string{"\tcur.cpu.Barrier(mm.SmpMB)\n\treturn a.Add(cur, -1) == 0\n", "\treturn a.Add(cur, -1) == 0\n"},
			Survives: "the wake-up that follows VALID is a full barrier too: each of the two is enough"},
		{Name: "read barrier before the load of a frame's status", File: ringmmFile, By: []string{"tx-writer weak", "reader-and-acks weak", "full-ring-acks weak", "two-kicks weak", "skipping-reader weak"},
			Edit:     []string{"\tcur.CPU().Barrier(mm.SmpRMB)\n", ""},
			Survives: "it orders the load of the status after earlier loads, and the kernel makes none of that frame before: what would help is a barrier after the load (get-status-barrier)"},
		{Name: "barrier of a wait queue, between a message and the look for sleepers", File: waitFile, By: []string{"reader-and-acks weak"},
			Edit: []string{"\tcur.cpu.Release(&q.sync)\n", "", "\tcur.cpu.Acquire(&q.sync)\n", ""}},
		{Name: "barrier of an unlock", File: lockFile, By: []string{"full-ring-acks weak", "reader-and-acks weak"},
			Edit: []string{"\t\tcur.cpu.Release(&l.sync)\n", ""}},
		{Name: "barrier of a lock", File: lockFile, By: []string{"full-ring-acks weak", "reader-and-acks weak"},
			Edit: []string{"\tcur.cpu.Acquire(&l.sync)\n", ""}},
		{Name: "order of header and status of a frame", File: deliverFile, By: []string{"reader-and-acks"},
			Edit: []string{"\tf.SetHeader(cur, sk.header(cur, m))\n\tsk.published(cur, f, m, uapi.NLMMapStatusValid)\n\tf.SetStatus(cur, uapi.NLMMapStatusValid)\n",
				"\tsk.published(cur, f, m, uapi.NLMMapStatusValid)\n\tf.SetStatus(cur, uapi.NLMMapStatusValid)\n\tf.SetHeader(cur, sk.header(cur, m))\n"}},
		{Name: "order of copying and releasing a TX frame", File: txFile, By: []string{"tx-writer"},
			Edit: []string{"\tmem, off := f.Data()\n", "\tmem, off := f.Data()\n\tf.SetStatus(cur, uapi.NLMMapStatusUnused)\n", "\ts.Write(cur, 0, data)\n\tf.SetStatus(cur, uapi.NLMMapStatusUnused)\n", "\ts.Write(cur, 0, data)\n"}},

		// Locks.
		{Name: "queue lock around taking a frame to build in", File: allocFile, By: []string{"packets-full-ring"},
			Edit: []string{"\tsk.ReceiveQueue.Lock.Lock(cur)\n", "",
				"\t\tsk.ReceiveQueue.Lock.Unlock(cur)\n\t\tm.Free(cur)\n\t\tsk.Put(cur)\n", "\t\tm.Free(cur)\n\t\tsk.Put(cur)\n",
				"\t\tsk.ReceiveQueue.Lock.Unlock(cur)\n\t\tm.Free(cur)\n\t\tsk.overrun(cur)\n", "\t\tm.Free(cur)\n\t\tsk.overrun(cur)\n",
				"\tsk.rxRing.Advance(cur)\n\tsk.ReceiveQueue.Lock.Unlock(cur)\n", "\tsk.rxRing.Advance(cur)\n"}},
		{Name: "queue lock around taking a COPY frame", File: deliverFile, By: []string{"two-senders"},
			Edit: []string{"\tsk.ReceiveQueue.Lock.Lock(cur)\n\tf, free", "\tf, free", "\t\tsk.ReceiveQueue.Lock.Unlock(cur)\n\t\tm.Free(cur)\n", "\t\tm.Free(cur)\n",
				"\tsk.ReceiveQueue.Append(m)\n\tsk.ReceiveQueue.Lock.Unlock(cur)\n\tf.Set", "\tsk.ReceiveQueue.Append(m)\n\tf.Set"}},
		{Name: "queue lock around queueing a message", File: deliverFile, By: []string{"two-receivers", "blocked-receiver", "blocked-sender", "*.txt"},
			Edit:     []string{"\t\tsk.ReceiveQueue.Lock.Lock(cur)\n\t\tsk.ReceiveQueue.Append(m)\n\t\tsk.ReceiveQueue.Lock.Unlock(cur)\n", "\t\tsk.ReceiveQueue.Append(m)\n"},
			Survives: "linking a message into a list is one step of the model: the lock guards the list's pointers, which the model does not have"},
		{Name: "queue lock around taking a message", File: baseFile, By: []string{"two-receivers", "blocked-receiver", "blocked-sender", "*.txt"},
			Edit:     []string{"\tq.Lock.Lock(cur)\n\tdefer q.Lock.Unlock(cur)\n\tif flags", "\tif flags"},
			Survives: "as above: looking for the first message and unlinking it is one step of the model"},
		{Name: "queue lock around exchanging a ring", File: ringFile, By: []string{"ack-and-teardown", "poll-and-teardown"},
			Edit: []string{"\tqueue.Lock.Lock(cur)\n", "", "\tqueue.Lock.Unlock(cur)\n", ""}},
		{Name: "pg_vec_lock around exchanging a ring", File: ringFile, By: []string{"two-mappers"},
			Edit: []string{"\tsk.pgVecLock.Lock(cur)\n\tif n", "\tif n", "\t\tsk.pgVecLock.Unlock(cur)\n\t\tring.Free", "\t\tring.Free", "\tsk.pgVecLock.Unlock(cur)\n\tfor", "\tfor"}},
		{Name: "pg_vec_lock around mapping", File: ringFile, By: []string{"two-mappers"},
			Edit: []string{"\tsk.pgVecLock.Lock(cur)\n\tdefer sk.pgVecLock.Unlock(cur)\n\texpected", "\texpected"}},
		{Name: "pg_vec_lock around sending the TX ring", File: sendFile, By: []string{"two-kicks"},
			Edit: []string{"\tsk.pgVecLock.Lock(cur)\n\tdefer sk.pgVecLock.Unlock(cur)\n", ""}},
		{Name: "queue lock around the search for a VALID frame in poll", File: pollFile, By: []string{"poll-and-teardown"},
			Edit: []string{"\tsk.ReceiveQueue.Lock.Lock(cur)\n\tdefer sk.ReceiveQueue.Lock.Unlock(cur)\n", ""}},
		{Name: "cb_mutex around a message of a dump", File: dumpFile, By: []string{"two-dump-pollers"},
			Edit: []string{"\tsk.cbMutex.Lock(cur)\n\tcb := sk.cb.cb", "\tcb := sk.cb.cb",
				"\t\tsk.cbMutex.Unlock(cur)\n\t\treturn kernel.Errorf(kernel.EINVAL, \"no dump", "\t\treturn kernel.Errorf(kernel.EINVAL, \"no dump",
				"\t\tsk.cbMutex.Unlock(cur)\n\t\treturn kernel.Errorf(kernel.ENOBUFS, \"the receive", "\t\treturn kernel.Errorf(kernel.ENOBUFS, \"the receive",
				"\t\tsk.cbMutex.Unlock(cur)\n\t\treturn kernel.Errorf(kernel.ENOBUFS, \"no free", "\t\treturn kernel.Errorf(kernel.ENOBUFS, \"no free",
				"\t\tsk.cbMutex.Unlock(cur)\n\t\tsk.dumpDeliver", "\t\tsk.dumpDeliver", "\t\tsk.cbMutex.Unlock(cur)\n\t\ts.Free(cur)\n", "\t\ts.Free(cur)\n",
				"\tsk.cb.cb = nil\n\tsk.cbMutex.Unlock(cur)\n", "\tsk.cb.cb = nil\n"}},
		{Name: "instance lock of nflog", File: nflogFile, By: []string{"nflog-two-cpus"},
			Edit: []string{"\tg.lock.Lock(cur)\n\tdefer g.lock.Unlock(cur)\n\tif g.dead {\n\t\treturn\n\t}\n\tif threshold", "\tif g.dead {\n\t\treturn\n\t}\n\tif threshold"}},
		{Name: "table lock around giving a portid", File: tableFile, By: []string{"two-senders", "*.txt"},
			Edit:     []string{"\tt := &nl.table\n\tt.lock.Lock(cur)\n\tdefer t.lock.Unlock(cur)\n\tt.word.Add(cur, 1)\n\tt.mu.Lock()\n\tdefer t.mu.Unlock()\n\tp := &t.proto[sk.Protocol]\n\ttaken", "\tt := &nl.table\n\tt.word.Add(cur, 1)\n\tt.mu.Lock()\n\tdefer t.mu.Unlock()\n\tp := &t.proto[sk.Protocol]\n\ttaken"},
			Survives: "looking a portid up and entering it is one step of the model, whose table is a Go map"},

		// Checks.
		{Name: "second look at the ring before a frame is taken", File: allocFile, By: []string{"ack-and-teardown"},
			Edit: []string{"\tif !sk.rxRing.IsSet(cur) || !fits() {", "\tif !fits() {"}},
		{Name: "a frame to build in must be UNUSED", File: allocFile, By: []string{"full-ring-acks"},
			Edit: []string{"\tif !free {", "\tif false && !free {"}},
		{Name: "a COPY frame must be UNUSED", File: deliverFile, By: []string{"full-ring-copies"},
			Edit: []string{"\tif !free {", "\tif false && !free {"}},
		{Name: "RESERVED while a message is built", File: allocFile, By: []string{"packets-full-ring"},
			Edit: []string{"\tf.SetStatus(cur, uapi.NLMMapStatusReserved)\n", ""}},
		{Name: "no ring is changed while it is mapped, under the lock", File: ringFile, By: []string{"two-mappers"},
			Edit: []string{"\tif n := sk.mapped.Load(cur); n != 0 {\n\t\tsk.pgVecLock", "\tif n := 0; n != 0 {\n\t\tsk.pgVecLock"}},
		{Name: "no ring is changed while it is mapped, before the lock", File: ringFile, By: []string{"two-mappers", "fork-exit-mapping", "*.txt"},
			Edit:     []string{"\tif n := sk.mapped.Load(cur); n != 0 {\n\t\treturn", "\tif n := 0; n != 0 {\n\t\treturn"},
			Survives: "the same is checked again under the lock"},
		{Name: "no ring is changed while frames are reserved", File: ringFile, By: []string{"nflog_pending.txt"},
			Edit: []string{"\tif n := ring.Pending.Load(cur); n != 0 {", "\tif n := 0; n != 0 {"}},
		{Name: "second look at the ring in poll", File: pollFile, By: []string{"poll-and-teardown"},
			Edit: []string{"\tif !sk.rxRing.IsSet(cur) {\n\t\treturn false\n\t}\n", ""}},
		{Name: "room in the ring before a dump goes on", File: pollFile, By: []string{"dump-acks-reader", "dump_ring_of_2.txt"},
			Edit: []string{" && sk.rxRing.DumpSpace(cur)", ""}},
		{Name: "a dump that ended meanwhile", File: dumpFile, By: []string{"two-dump-pollers"},
			Edit: []string{"\tif sk.cb.running.Load(cur) == 0 {", "\tif false {"}},
		{Name: "one dump at a time", File: dumpFile, By: []string{"dump_busy.txt"},
			Edit: []string{"\tif sk.cb.running.Load(cur) != 0 {", "\tif false {"}},
		{Name: "the length of a TX frame", File: sendFile, By: []string{"tx_bad_length.txt"},
			Edit: []string{"\t\tif n > ring.Maxlen() {", "\t\tif false {"}},
		{Name: "room in the receive buffer", File: deliverFile, By: []string{"usersock_congestion.txt"},
			Edit: []string{"\tif m.CB.Flags&skb.Mmaped != 0 || !full() {", "\tif true {"}},
		{Name: "a blocked sender looks whether the receiver is gone", File: deliverFile, By: []string{"blocked-sender-close"},
			Edit: []string{"sk.Dead.Load(cur) != 0 || !full()", "!full()"}},

		// Wake-ups.
		{Name: "wake-up of readers by a message", File: deliverFile, By: []string{"reader-and-acks"},
			Edit: []string{"\tsk.DataReady(cur)\n", ""}},
		{Name: "wake-up of readers by an error", File: allocFile, By: []string{"overrun-report"},
			Edit: []string{"\t\tsk.ErrorReport(cur)\n", ""}},
		{Name: "wake-up of blocked senders by a reader", File: allocFile, By: []string{"blocked-sender"},
			Edit: []string{"\t\tsk.wait.Wake(cur, 0)\n", ""}},
		{Name: "wake-up of blocked senders by close", File: sockFile, By: []string{"blocked-sender-close"},
			Edit: []string{"\tsk.wait.Wake(cur, 0)\n", ""}},
		{Name: "poll registers before it looks", File: pollFile, By: []string{"overrun-report", "reader-and-acks"},
			Edit: []string{"\tpt.Wait(&sk.Wait)\n", "", "\treturn mask\n}\n\n// pollRx", "\tpt.Wait(&sk.Wait)\n\treturn mask\n}\n\n// pollRx"}},
		{Name: "a sleeper prepares before it looks", File: waitFile, By: []string{"blocked-receiver", "blocked-sender"},
			Edit: []string{"\t\tt.prepareToSleep()\n\t\tif done() {\n\t\t\treturn nil\n\t\t}\n", "\t\tif done() {\n\t\t\treturn nil\n\t\t}\n\t\tt.prepareToSleep()\n"}},
		{Name: "poll prepares to sleep before it looks", File: kpollFile, By: []string{"reader-and-acks"},
			Edit: []string{"\t\tt.prepareToSleep()\n\t\tn := 0\n", "\t\tn := 0\n", "\t\tt.schedule(deadline)\n\t}\n}\n\n// Select", "\t\tt.prepareToSleep()\n\t\tt.schedule(deadline)\n\t}\n}\n\n// Select"}},

		// Steps of the protocol, and the books.
		{Name: "head moves on after a frame to build in", File: allocFile, By: []string{"reader-and-acks"},
			Edit: []string{"\tsk.rxRing.Advance(cur)\n", ""}},
		{Name: "head moves on after a COPY frame", File: deliverFile, By: []string{"two-senders"},
			Edit: []string{"\tsk.rxRing.Advance(cur)\n", ""}},
		{Name: "head moves on after a TX frame", File: sendFile, By: []string{"fork-exit-tx"},
			Edit: []string{"\t\tring.Advance(cur)\n", ""}},
		{Name: "search for a frame that is not SKIP", File: allocFile, By: []string{"skipping-reader", "rx_skip.txt"},
			Edit: []string{"\tsk.rxRing.Forward(cur)\n", ""}},
		{Name: "header of a frame", File: deliverFile, By: []string{"reader-and-ack"},
			Edit: []string{"\tf.SetHeader(cur, sk.header(cur, m))\n\tsk.published(cur, f, m, uapi.NLMMapStatusValid)\n", "\tsk.published(cur, f, m, uapi.NLMMapStatusValid)\n"}},
		{Name: "mark of a delivered message", File: deliverFile, By: []string{"reader-and-ack"},
			Edit: []string{"\tm.CB.Flags |= skb.Delivered\n", ""}},
		{Name: "count of lost messages", File: allocFile, By: []string{"full-ring-copies"},
			Edit: []string{"\tsk.Drops.Add(cur, 1)\n", ""}},
		{Name: "report of a message for which there is no frame", File: allocFile, By: []string{"full-ring-acks"},
			Edit: []string{"\t\tsk.overrun(cur)\n\t\tsk.Put(cur)\n", "\t\tsk.Put(cur)\n"}},
		{Name: "end of congestion", File: allocFile, By: []string{"usersock*.txt", "rx_*.txt", "random_*.txt"},
			Edit: []string{"\t\tsk.congested.Store(cur, 0)\n", ""}},
		{Name: "count of reserved frames, up", File: allocFile, By: []string{"reader-and-ack"},
			Edit: []string{"\tsk.rxRing.Pending.Add(cur, 1)\n", ""}},
		{Name: "count of reserved frames, down", File: ringFile, By: []string{"reader-and-ack"},
			Edit: []string{"\t\tif ring.Pending.Add(cur, -1) < 0 {", "\t\tif ring.Pending.Peek() < 0 {"}},
		{Name: "count of mappings, mmap", File: ringFile, By: []string{"reader-and-ack"},
			Edit: []string{"\tsk.mapped.Add(cur, 1)\n", ""}},
		{Name: "count of mappings, fork", File: ringFile, By: []string{"fork-exit-mapping"},
			Edit: []string{"{ o.sk.mapped.Add(cur, 1) }", "{}"}},
		{Name: "count of mappings, munmap", File: ringFile, By: []string{"fork-exit-mapping"},
			Edit: []string{"{ o.sk.mapped.Add(cur, -1) }", "{}"}},
		{Name: "end of a message's charge", File: ringFile, By: []string{"copy-and-reader"},
			Edit: []string{"\t\towner.Uncharge(cur, m.Truesize)\n", "\t\t_ = owner\n"}},
		{Name: "reference to the owner of a frame", File: ringFile, By: []string{"reader-and-ack"},
			Edit: []string{"\t\tsk.Put(cur)\n", ""}},
		{Name: "reference that a lookup takes", File: tableFile, By: []string{"close-under-delivery"},
			Edit: []string{"\tif sk != nil {\n\t\tsk.HoldFound()\n\t}\n", ""}},
		{Name: "a frame whose message was dropped comes back", File: ringFile, By: []string{"filter_drops_*.txt"},
			Edit: []string{"\t\t\tf.SetStatus(cur, uapi.NLMMapStatusValid)\n", ""}},
		{Name: "release of a TX frame", File: txFile, By: []string{"fork-exit-tx"},
			Edit: []string{"\ts.Write(cur, 0, data)\n\tf.SetStatus(cur, uapi.NLMMapStatusUnused)\n", "\ts.Write(cur, 0, data)\n"}},
		{Name: "end of a dump", File: dumpFile, By: []string{"dump-acks-reader"},
			Edit: []string{"\tsk.cb.running.Store(cur, 0)\n\tsk.cb.cb = nil\n\tsk.cbMutex", "\tsk.cbMutex"}},
		{Name: "a dump goes on when a reader has taken a message", File: recvFile, By: []string{"dump_no_ring.txt"},
			Edit: []string{"\tsk.continueDump(cur)\n", ""}},
		{Name: "a changed ring empties its queue", File: ringFile, By: []string{"ring_setup_purges_queue.txt"},
			Edit: []string{"\tpurged := queue.Splice()\n", "\tvar purged []*skb.SKB\n"}},
		{Name: "the old ring is freed", File: ringFile, By: []string{"fork-exit-mapping"},
			Edit: []string{"\tring.Free(cur, old)\n", "\t_ = old\n"}},
	}
}

// mutantBudget is how long a program searches for a mutant.
const mutantBudget = 3 * time.Second

// apply edits the source.
func (m mutant) apply() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join("..", m.File))
	if err != nil {
		return nil, err
	}
	s := string(text)
	for i := 0; i < len(m.Edit); i += 2 {
		if n := strings.Count(s, m.Edit[i]); n != 1 {
			return nil, fmt.Errorf("%s has %d times %q", m.File, n, m.Edit[i])
		}
		s = strings.Replace(s, m.Edit[i], m.Edit[i+1], 1)
	}
	return []byte(s), nil
}

// build makes the test binary of this package with the mutant in it.
func (m mutant) build(dir string) (binary string, err error) {
	text, err := m.apply()
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(filepath.Join("..", m.File))
	if err != nil {
		return "", err
	}
	source, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{path: source}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(source, text, 0o644); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, list, 0o644); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "mutant.test")
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%v\n%s", err, out)
	}
	return binary, nil
}

// run does the mutant's job and returns what caught it, nil for nothing.
func (m mutant) run(dir string) (*mutantCatch, error) {
	binary, err := m.build(dir)
	if err != nil {
		return nil, err
	}
	job := mutantJob{Budget: mutantBudget}
	for _, by := range m.By {
		if strings.HasSuffix(by, ".txt") {
			job.Recordings = append(job.Recordings, by)
		} else {
			job.Programs = append(job.Programs, by)
		}
	}
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "-test.run", "^TestMutantJob$", "-test.timeout", "60s")
	cmd.Env = append(os.Environ(), "MUTANT_JOB="+string(text), "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	_ = os.Remove(binary)
	for line := range strings.Lines(string(out)) {
		if b, ok := strings.CutPrefix(line, "CATCH "); ok {
			c := &mutantCatch{}
			return c, json.Unmarshal([]byte(b), c)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%v\n%s", err, out)
	}
	return nil, nil
}

// TestUnmutated: what catches mutants finds nothing in the model as it is, but what 4.5.7 has anyway.
func TestUnmutated(t *testing.T) {
	if testing.Short() {
		t.Skip("searches as long as TestMutants")
	}
	seen := map[string]bool{}
	for _, m := range mutants() {
		for _, by := range m.By {
			if seen[by] || strings.HasSuffix(by, ".txt") {
				continue
			}
			seen[by] = true
			if c := runMutant(by, mutantJob{Budget: mutantBudget}); c != nil {
				t.Errorf("%s: %s: %s", by, c.Invariant, c.What)
			}
		}
	}
}

// TestMutants: each mutant is caught, except those that say why they are not.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a binary for each mutant")
	}
	all := mutants()
	catches := make([]*mutantCatch, len(all))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 2 {
		wg.Go(func() {
			for i := range next {
				dir := t.TempDir()
				c, err := all[i].run(dir)
				switch {
				case err != nil:
					t.Errorf("%s: %v", all[i].Name, err)
				case c == nil && all[i].Survives == "":
					t.Errorf("%s: nothing of %v catches it", all[i].Name, all[i].By)
				case c == nil:
					t.Logf("%s: survives", all[i].Name)
				case c.Invariant == "error":
					t.Errorf("%s: %s: %s", all[i].Name, c.By, c.What)
				case all[i].Survives != "":
					t.Errorf("%s: is caught after all, by %s: %s: %s", all[i].Name, c.By, c.Invariant, c.What)
				default:
					t.Logf("%s: %s after %d schedules: %s: %s", all[i].Name, c.By, c.Schedules, c.Invariant, c.What)
				}
				catches[i] = c
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wg.Wait()
	if *updateMutants && !t.Failed() {
		if err := os.WriteFile(mutantsDoc, []byte(mutantsTable(all, catches)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const mutantsDoc = "../docs/mutants.md"

func mutantsTable(all []mutant, catches []*mutantCatch) string {
	var caught, survivors strings.Builder
	for i, m := range all {
		c := catches[i]
		switch {
		case c == nil:
			fmt.Fprintf(&survivors, "- **%s** (`%s`): %s.\n", m.Name, m.File, m.Survives)
		case c.Invariant == "recording":
			fmt.Fprintf(&caught, "| %s | `%s` | recording %s | differs at `%s` | |\n", m.Name, m.File, c.By, c.What)
		default:
			fmt.Fprintf(&caught, "| %s | `%s` | %s | %s | %d |\n", m.Name, m.File, c.By, c.Invariant, c.Schedules)
		}
	}
	return `# Mutants

Each line is the model of 4.5.7 with one barrier, lock, check, wake-up or step switched off by an edit of its source, and
the program of the library (with its memory model, if that is not sequentially consistent) or the recording that shows
it. Violations that 4.5.7 has anyway do not count. The table is written by
` + "`go test ./explore -run TestMutants -update-mutants`" + `; the edits are in ` + "`explore/mutants_test.go`" + `.

| switched off | in | caught by | invariant | schedules |
|---|---|---|---|---|
` + caught.String() + `
## Survivors

` + survivors.String()
}

// TestMutantsDoc: the page lists the mutants of the source, and their edits fit it.
func TestMutantsDoc(t *testing.T) {
	text, err := os.ReadFile(mutantsDoc)
	if err != nil {
		t.Fatal(err)
	}
	all := mutants()
	names := map[string]bool{}
	for _, m := range all {
		if names[m.Name] {
			t.Errorf("two mutants are called %q", m.Name)
		}
		names[m.Name] = true
		if _, err := m.apply(); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if !strings.Contains(string(text), "| "+m.Name+" |") && !strings.Contains(string(text), "- **"+m.Name+"**") {
			t.Errorf("docs/mutants.md does not have %q: run go test ./explore -run TestMutants -update-mutants", m.Name)
		}
	}
	if n := strings.Count(string(text), "\n| ") - 1 + strings.Count(string(text), "\n- **"); n != len(all) {
		t.Errorf("docs/mutants.md has %d mutants, the source %d: run go test ./explore -run TestMutants -update-mutants", n, len(all))
	}
}
