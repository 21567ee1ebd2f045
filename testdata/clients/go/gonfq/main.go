// gonfq N [accept|drop|mark|batch|replace|meta|none|flags]: takes N packets from queue 0 with github.com/florianl/go-nfqueue.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"

	"clients/internal/packets"
)

func main() {
	n, mode := packets.Arguments("accept")
	config := nfqueue.Config{NfQueue: 0, MaxPacketLen: 0xffff, MaxQueueLen: 100, Copymode: nfqueue.NfQnlCopyPacket, AfFamily: 2, WriteTimeout: time.Second}
	switch mode {
	case "meta":
		config.Copymode = nfqueue.NfQnlCopyMeta
	case "none":
		config.Copymode = nfqueue.NfQnlCopyNone
	case "flags":
		config.Flags = nfqueue.NfQaCfgFlagFailOpen | nfqueue.NfQaCfgFlagUIDGid | nfqueue.NfQaCfgFlagGSO
		config.MaxPacketLen = 32
	}
	nf, err := nfqueue.Open(&config)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	defer nf.Close()
	fmt.Println("no enobufs", nf.SetOption(netlink.NoENOBUFS, true))
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	done := make(chan struct{})
	hook := func(a nfqueue.Attribute) int {
		id := *a.PacketID
		var replacement []byte
		if a.Payload != nil {
			replacement = append(replacement, *a.Payload...)
			replacement[len(replacement)-1] = '!'
		}
		packets.Show(&a, &a.Timestamp, a.Payload)
		switch mode {
		case "drop":
			err = nf.SetVerdict(id, nfqueue.NfDrop)
		case "mark":
			err = nf.SetVerdictWithMark(id, nfqueue.NfAccept, 7)
		case "batch":
			if n > 1 {
				n--
				return 0
			}
			err = nf.SetVerdictBatch(id, nfqueue.NfAccept)
		case "replace":
			err = nf.SetVerdictModPacket(id, nfqueue.NfAccept, replacement)
		default:
			err = nf.SetVerdict(id, nfqueue.NfAccept)
		}
		fmt.Println("verdict", err)
		if n--; n == 0 {
			close(done)
			return 1
		}
		return 0
	}
	packets.Take(ctx, func(failed func(error) int) error { return nf.RegisterWithErrorFunc(ctx, hook, failed) }, done)
}
