// gonflog N [packet|meta|none|seq|threshold]: takes N packets from log group 1 with github.com/florianl/go-nflog.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/florianl/go-nflog/v2"
)

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	mode := "packet"
	if len(os.Args) > 2 {
		mode = os.Args[2]
	}
	config := nflog.Config{Group: 1, Copymode: nflog.CopyPacket}
	switch mode {
	case "meta":
		config.Copymode = nflog.CopyMeta
	case "none":
		config.Copymode = nflog.CopyNone
	case "seq":
		config.Flags = nflog.FlagSeq | nflog.FlagGlobal
		config.Bufsize = 32
	case "threshold":
		config.QThresh = uint32(n)
		config.Timeout = 300
	}
	nf, err := nflog.Open(&config)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	done := make(chan struct{})
	hook := func(a nflog.Attribute) int {
		stamp := a.Timestamp != nil
		a.Timestamp = nil
		if a.Payload != nil { // where a kernel begins to count packets is random
			b := *a.Payload
			b[4], b[5], b[10], b[11] = 0, 0, 0, 0
		}
		text, _ := json.Marshal(a)
		fmt.Println("packet", string(text), "timestamp", stamp)
		if n--; n == 0 {
			close(done)
			return 1
		}
		return 0
	}
	err = nf.RegisterWithErrorFunc(ctx, hook, func(e error) int { fmt.Println("error:", e); return 1 })
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
	fmt.Println("close", nf.Close())
}
