//go:build !linux || !amd64

package main

import "context"

func execCommand() command {
	return command{
		name:    "exec",
		summary: "run a program with its netlink sockets on a modelled kernel (Linux on x86-64 only)",
		help:    "Programs can be run on Linux on x86-64 only.\n",
		run: func(_ context.Context, e env, _ command, _ []string) int {
			return e.bad("exec: programs can be run on Linux on x86-64 only")
		},
	}
}
