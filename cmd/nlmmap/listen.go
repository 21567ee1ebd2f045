package main

import (
	"errors"
	"os"
	"time"

	"nlmmap/capture"
	"nlmmap/kernel"
)

// listeners hear of what a machine does, one after the other.
type listeners []func(kernel.Record)

// record returns what to give to kernel.Config.Trace: nil when nobody listens, which is faster.
func (l listeners) record() func(kernel.Record) {
	switch len(l) {
	case 0:
		return nil
	case 1:
		return l[0]
	}
	return func(r kernel.Record) {
		for _, listen := range l {
			listen(r)
		}
	}
}

const pcapUsage = "write the messages to `FILE`, for Wireshark (pcapng, LINKTYPE_NETLINK)"

// A captureFile is the file of --pcap.
type captureFile struct {
	*capture.Writer
	file *os.File
}

func newCapture(path string, version kernel.Version, start time.Time) (*captureFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	w, err := capture.New(f, version, start)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &captureFile{w, f}, nil
}

// Close closes the file, and says what went wrong with it.
func (c *captureFile) Close() error { return errors.Join(c.Err(), c.file.Close()) }
