package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExplore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(file, []byte("10:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // in either output
	}{
		{"list", []string{"--list"}, exitOK, "reader-and-ack"},
		{"clean", []string{"--kernel", "4.5.7", "--memory", "weak", "reader-and-ack"}, exitOK, "all schedules, nothing found"},
		{"found", []string{"--kernel", "3.10.4", "--memory", "weak", "reader-and-ack"}, exitDisagree, "violated: publication"},
		{"ignored", []string{"--kernel", "3.10.4", "--memory", "weak", "--ignore", "publication,order", "reader-and-ack"}, exitOK, "nothing found"},
		{"composed", []string{"--kernel", "3.10.4", "--set", "set-status-barrier=on", "--memory", "weak", "reader-and-ack"}, exitOK, "all schedules"},
		{"replay", []string{"--kernel", "3.10.4", "--without", "1", "--replay", "10:1", "tx-second-thread"}, exitDisagree, "violated: tx-len-reread"},
		{"replay file", []string{"--kernel", "3.10.4", "--without", "1", "--replay", file, "tx-second-thread"}, exitDisagree, "violated: tx-len-reread"},
		{"replay of nothing", []string{"--kernel", "4.5.7", "--replay", "", "reader-and-ack"}, exitOK, "violates no invariant"},
		{"typo", []string{"reader-and-ak"}, exitBadInput, `did you mean "reader-and-ack"?`},
		{"no program", nil, exitBadInput, "expected one program"},
		{"bad memory", []string{"--memory", "strong", "locks"}, exitBadInput, "sc, tso, weak"},
		{"bad scheduler", []string{"--scheduler", "best", "locks"}, exitBadInput, "pct"},
		{"bad switch", []string{"--replay", "1-2", "locks"}, exitBadInput, "12:1"},
		{"bad step", []string{"--without", "x", "locks"}, exitBadInput, "numbers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := start(t, "", append([]string{"explore"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, tt.code, tt.want, stdout, stderr)
			}
		})
	}
}

func TestExploreJSON(t *testing.T) {
	_, stdout, _ := start(t, "", "explore", "-json", "--kernel", "3.10.4", "tx-second-thread")
	var got struct {
		Violation struct{ Name string }
		Switches  string
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if got.Violation.Name != "tx-len-reread" || got.Switches == "" {
		t.Errorf("%+v", got)
	}
}
