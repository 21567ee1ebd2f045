package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const litmusText = `# One of two readers gets the message.
socket a usersock

bind a portid=5

send a portid=5
msg type=100

parallel
thread p
  recv a size=16
thread q
  recv a size=16
`

const litmusSet = `p: 16 from=5 groups=0x0 / 100 len=16 flags=0x0 seq=0 pid=0; q: EAGAIN
p: EAGAIN; q: 16 from=5 groups=0x0 / 100 len=16 flags=0x0 seq=0 pid=0
`

func TestExploreFile(t *testing.T) {
	path := filepath.Join(tree(t, map[string]string{"a.txt": litmusText, "plain.txt": good}), "a.txt")
	code, stdout, stderr := start(t, "", "explore", "--kernel", "4.4.1", path)
	if code != exitOK || !strings.Contains(stdout, "outcomes 2, schedules ") || !strings.Contains(stdout, "all schedules that can differ") {
		t.Errorf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = start(t, "", "explore", "-json", "--kernel", "4.4.1", "--memory", "weak", path)
	var got struct {
		File, Kernel, Memory, Scheduler string
		Complete                        bool
		Schedules                       int
		Outcomes                        []struct {
			Text, Replay string
			Schedules    int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	sum, set := 0, ""
	for _, o := range got.Outcomes {
		sum += o.Schedules
		set += o.Text + "\n"
		_, stdout, _ := start(t, "", "explore", "--kernel", "4.4.1", "--memory", "weak", "--replay", o.Replay, path)
		if !strings.HasPrefix(stdout, "outcome: "+o.Text+"\n") || !strings.Contains(stdout, "step p (0)") {
			t.Errorf("the replay of %s prints\n%s", o.Text, stdout)
		}
	}
	if code != exitOK || got.File != path || got.Kernel != "4.4.1" || got.Memory != "weak" || got.Scheduler != "dfs" ||
		!got.Complete || got.Schedules != sum || set != litmusSet {
		t.Errorf("exit code %d, %+v", code, got)
	}
	_, stdout, _ = start(t, "", "explore", "-json", "--scheduler", "random", "--runs", "7", path)
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Complete || got.Schedules != 7 || got.Scheduler != "random" {
		t.Errorf("random: %+v, %v", got, err)
	}
	for _, tt := range []struct{ file, want string }{
		{filepath.Join(filepath.Dir(path), "plain.txt"), "has no parallel block"},
		{"nosuch.txt", "no such file"},
		{filepath.Dir(path), "directory"},
	} {
		if code, _, stderr := start(t, "", "explore", tt.file); code != exitBadInput || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, printed\n%s", tt.file, code, stderr)
		}
	}
}

func TestVerifyLitmus(t *testing.T) {
	const section = "\noutcomes 4.4.1 sc\n----\n"
	root := tree(t, map[string]string{
		"good.txt": litmusText + section + litmusSet,
		"bad.txt":  litmusText + section + "p: ok\n" + strings.SplitAfter(litmusSet, "\n")[0],
		"none.txt": litmusText,
	})
	path := func(name string) string { return filepath.Join(root, name) }
	code, stdout, stderr := start(t, "", "verify", path("good.txt"))
	if code != exitOK || stdout != "4.4.1 sc  1/1 sets of outcomes\n" {
		t.Errorf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = start(t, "", "verify", "-v", path("bad.txt"), path("good.txt"))
	want := path("bad.txt") + `:15: outcomes 4.4.1 sc (- expected and cannot be, + can be and is not expected)
    - p: ok
    + p: EAGAIN; q: 16 from=5 groups=0x0 / 100 len=16 flags=0x0 seq=0 pid=0
      --replay "`
	if code != exitDisagree || !strings.HasPrefix(stdout, want) || !strings.HasSuffix(stdout, "\n4.4.1 sc  1/2 sets of outcomes\n") {
		t.Errorf("exit code %d, printed\n%s", code, stdout)
	}
	code, stdout, _ = start(t, "", "verify", "-json", path("bad.txt"))
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	if code != exitDisagree || len(r.Litmus) != 1 || len(r.Litmus[0].Failures) != 1 || len(r.Litmus[0].Failures[0].Missing) != 1 {
		t.Errorf("exit code %d, report %+v", code, r)
	}
	code, _, stderr = start(t, "", "verify", path("none.txt"))
	if code != exitBadInput || !strings.Contains(stderr, "none.txt:9: no outcomes to compare with") {
		t.Errorf("exit code %d, printed\n%s", code, stderr)
	}
}

func TestRewrite(t *testing.T) {
	root := tree(t, map[string]string{
		"none.txt":  litmusText,
		"wrong.txt": litmusText + "\n# Why.\noutcomes 4.4.1 sc\n----\np: ok\n\noutcomes 4.5.7 weak\n",
		"plain.txt": good,
	})
	none, wrong, plain := filepath.Join(root, "none.txt"), filepath.Join(root, "wrong.txt"), filepath.Join(root, "plain.txt")
	if code, stdout, stderr := start(t, "", "verify", "-rewrite", none, wrong); code != exitOK || stdout+stderr != "" {
		t.Fatalf("exit code %d, printed\n%s%s", code, stdout, stderr)
	}
	text, err := os.ReadFile(wrong)
	if err != nil {
		t.Fatal(err)
	}
	if want := litmusText + "\n# Why.\noutcomes 4.4.1 sc\n----\n" + litmusSet + "\noutcomes 4.5.7 weak\n----\n" + litmusSet; string(text) != want {
		t.Errorf("the file is now\n%s\nwant\n%s", text, want)
	}
	code, stdout, _ := start(t, "", "verify", none)
	if code != exitOK || strings.Count(stdout, " sc  1/1 sets of outcomes\n") != 5 {
		t.Errorf("exit code %d, printed\n%s", code, stdout)
	}
	for _, args := range [][]string{{plain}, {}, {filepath.Join(root, "nosuch.txt")}, {"--kernel", "9", none}} {
		if code, _, stderr := start(t, "", append([]string{"verify", "-rewrite"}, args...)...); code != exitBadInput || stderr == "" {
			t.Errorf("%q: exit code %d, printed\n%s", args, code, stderr)
		}
	}
}

// TestLitmusElsewhere: commands that make one step after the other refuse a parallel block.
func TestLitmusElsewhere(t *testing.T) {
	path := filepath.Join(tree(t, map[string]string{"a.txt": litmusText}), "a.txt")
	for _, args := range [][]string{{"run", path}, {"record", path}, {"diff", "3.10.4", "4.4.1", path}, {"verify", "--live", path}} {
		code, stdout, stderr := start(t, "", args...)
		if code != exitBadInput || stdout != "" || !strings.Contains(stderr, "a.txt:9: ") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit code %d, printed\n%s%s", args, code, stdout, stderr)
		}
	}
}
