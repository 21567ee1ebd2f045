//go:build !linux

package main

// unameRelease is the name of the kernel the program runs on: none that has netlink.
func unameRelease() string { return "unknown" }

// asInit does something only on Linux.
func asInit(env) (finish func()) { return func() {} }
