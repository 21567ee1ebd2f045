// Package packets is what programs that take N packets from the kernel have in common.
package packets

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Arguments are the program's: N, and a word that says how, usual if there is none.
func Arguments(usual string) (n int, mode string) {
	n, _ = strconv.Atoi(os.Args[1])
	if len(os.Args) > 2 {
		return n, os.Args[2]
	}
	return n, usual
}

// Show prints what came with a packet. Its time, and where the kernel begins to count packets, are not the same twice and left out.
func Show(attribute any, stamp **time.Time, payload *[]byte) {
	stamped := *stamp != nil
	*stamp = nil
	if payload != nil {
		b := *payload
		b[4], b[5], b[10], b[11] = 0, 0, 0, 0
	}
	text, _ := json.Marshal(attribute)
	fmt.Println("packet", string(text), "timestamp", stamped)
}

// Take registers a hook, and waits until it says, by closing done, that it has enough, or ctx is over.
func Take(ctx context.Context, register func(failed func(error) int) error, done <-chan struct{}) {
	err := register(func(e error) int { fmt.Println("error:", e); return 1 })
	if err != nil {
		fmt.Println("register:", err)
		os.Exit(1)
	}
	select {
	case <-done:
		fmt.Println("done")
	case <-ctx.Done():
		fmt.Println("nothing more came")
	}
}
