// Package boot runs scenarios on kernel images: it boots each image with package guest, plays the scenarios there with
// package scenario/live, and gives their outputs back.
//
// A Lab is an image with a set of scenarios. It keeps several guests busy, each with one scenario at a time, so results
// come in any order but do not depend on it. A guest that dies is a result: the step during which it died has an output
// that tells so, the steps behind it were not run, and the scenarios that are left go on in a new guest.
//
// Both sides are here: Lab on the host, Serve in the guest.
package boot

import "nlmmap/scenario"

// A Scenario is a file, and whether it runs in the initial network namespace.
type Scenario struct {
	File    *scenario.File
	InitNet bool
	// Damages says that the scenario is known to leave the kernel damaged, so that nothing can run on it afterwards.
	Damages bool
}

// A Kernel is what a guest tells of itself when it is up.
type Kernel struct {
	Release string   // as uname -r prints it
	Rings   bool     // it has mmap'ed netlink
	Why     string   // a sentence about that
	Missing []string // options of the kernel's configuration that scenarios may need and that it lacks
}

// Messages between host and guest.
type (
	// request asks for one run of a scenario: of the plan, by its number, or another one.
	request struct {
		Scenario int   `json:",omitempty"`
		Other    *sent `json:",omitempty"`
		// Races is how often the threads of a litmus file run at once: each outcome is a reply. Seed is of their delays.
		Races int    `json:",omitempty"`
		Seed  uint64 `json:",omitempty"`
	}
	sent struct {
		planned
		Text string
	}
	// reply is the output of the next step or, at the end, what failed.
	reply struct {
		Output  string `json:",omitempty"`
		End     bool   `json:",omitempty"`
		Failure string `json:",omitempty"`
	}
	// plan is the file that tells the guest what it has: that is faster than the line.
	plan struct {
		Scenarios []planned
	}
	planned struct {
		Name    string // as on the host, for messages
		InitNet bool
	}
)

const planPath = "/scenarios/plan.json"
