package main

import (
	"context"
	"fmt"
	"time"
	"os"

	"nlmmap/explore"
	"nlmmap/kernel"
	"nlmmap/kernel/mm"
)

func main() {
	for _, p := range explore.Programs() {
		if len(os.Args) > 1 && os.Args[1] != p.Name { continue }
		for _, m := range []mm.Model{mm.SC, mm.TSO, mm.Weak} {
			r := explore.Find(context.Background(), p, explore.Options{Version: kernel.Version{Release: kernel.Linux4_5}, Memory: m, Time: 4 * time.Second, KeepGoing: true})
			fmt.Printf("%-22s %-5v %7d ex=%v %v %v %v\n", p.Name, m, r.Runs, r.Exhausted, r.Elapsed.Round(time.Millisecond), r.Violations, r.Err)
		}
	}
}
