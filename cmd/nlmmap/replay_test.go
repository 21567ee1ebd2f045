package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestReplayLines: the command that a failure prints makes the same failure again, whatever the search was asked for.
func TestReplayLines(t *testing.T) {
	line := regexp.MustCompile(`(?m)^replay: nlmmap (.*)$`)
	violated := regexp.MustCompile(`(?m)^violated: .*\n.*\n.*\n.*$`)
	for _, search := range []string{
		"--kernel 3.10.4 --memory weak reader-and-ack",
		"--kernel 3.10.4 tx-second-thread",
		"--kernel 3.10.4 --only tx-len-reread --scheduler random --seed 7 tx-second-thread",
		"--kernel 4.5.7 --ignore integrity,order --scheduler pct --seed 3 --runs 200 two-senders-one-frame",
		"--kernel 4.5.7 --set set-status-barrier=off --memory weak --timeouts 2 reader-and-ack",
		"--kernel 4.5.7 --fail-allocs 2 --signals 1 --only set-ring-races ring-torn-down",
	} {
		_, out, _ := startReal(t, append([]string{"explore"}, strings.Fields(search)...)...)
		replay := line.FindStringSubmatch(out)
		if replay == nil {
			t.Errorf("%s prints no replay:\n%s", search, out)
			continue
		}
		// The switches are the only quoted argument.
		before, rest, _ := strings.Cut(replay[1], `"`)
		switches, after, _ := strings.Cut(rest, `"`)
		code, again, errors := startReal(t, append(append(strings.Fields(before), switches), strings.Fields(after)...)...)
		if want := violated.FindString(out); code != exitDisagree || violated.FindString(again) != want {
			t.Errorf("%s\nprints\n%s\nand %s, exit code %d,\n%s%s", search, want, replay[0], code, violated.FindString(again), errors)
		}
	}
}
