// gonflog N [packet|meta|none|seq|threshold]: takes N packets from log group 1 with github.com/florianl/go-nflog.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/florianl/go-nflog/v2"

	"clients/internal/packets"
)

func main() {
	n, mode := packets.Arguments("packet")
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
		packets.Show(&a, &a.Timestamp, a.Payload)
		if n--; n == 0 {
			close(done)
			return 1
		}
		return 0
	}
	packets.Take(ctx, func(failed func(error) int) error { return nf.RegisterWithErrorFunc(ctx, hook, failed) }, done)
	fmt.Println("close", nf.Close())
}
