// Package versions knows all named differences of the modelled kernels: it finds them by name, composes kernels out of
// a release and single differences, and keeps composed kernels in files.
package versions

//go:generate go run nlmmap/cmd/nlmmap versions -markdown -o ../docs/versions.md

import (
	"fmt"
	"maps"
	"strings"

	"nlmmap/kernel"
	"nlmmap/scenario"
	"nlmmap/subsys"
)

// A Table is a list of named differences.
type Table []kernel.Difference

// All returns the differences of the machine, the protocol family and every subsystem, in the order of their packages.
func All() Table { return new(subsys.Differences).Table() }

// Default is the release that commands use when none is given.
const Default = kernel.Linux4_4

// names lists what differences are called, other names included.
func (t Table) names() []string {
	var names []string
	for _, d := range t {
		names = append(names, d.Name)
		if d.Absent != "" {
			names = append(names, d.Absent)
		}
	}
	return names
}

// Find returns the difference with the given name. The error suggests the nearest one.
func (t Table) Find(name string) (kernel.Difference, error) {
	for _, d := range t {
		if d.Name == name || d.Absent != "" && d.Absent == name {
			return d, nil
		}
	}
	if near := nearest(name, t.names()); near != "" {
		return kernel.Difference{}, fmt.Errorf("unknown difference %q: did you mean %q?", name, near)
	}
	return kernel.Difference{}, fmt.Errorf("unknown difference %q: \"nlmmap versions\" lists them", name)
}

// Value is what a difference is in a kernel.
func (t Table) Value(v kernel.Version, name string) string {
	if set, ok := v.Set[name]; ok {
		return set
	}
	for _, d := range t {
		if d.Name == name {
			return d.In(v.Release)
		}
	}
	return ""
}

// parseSet reads NAME=VALUE. A switch can also be set by the name that its absence has: poll-prev-frame=on is
// poll-scans-ring=off.
func (t Table) parseSet(set string) (name, value string, err error) {
	name, value, ok := strings.Cut(set, "=")
	if !ok {
		return "", "", fmt.Errorf("%q: expected NAME=VALUE, as in poll-scans-ring=off", set)
	}
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	d, err := t.Find(name)
	if err != nil {
		return "", "", err
	}
	v, err := d.Parse(value)
	if err != nil {
		if near := nearest(value, d.Values()); near != "" && d.Settable() && !d.IsNumber() {
			err = fmt.Errorf("%w; did you mean %q?", err, near)
		}
		return "", "", err
	}
	if name == d.Absent {
		v = 1 - v
	}
	return d.Name, d.Format(v), nil
}

// Set returns a kernel that differs from another in the given NAME=VALUE settings. Settings that the release has anyway
// leave no trace.
func (t Table) Set(v kernel.Version, sets ...string) (kernel.Version, error) {
	if len(sets) == 0 {
		return v, nil
	}
	all := maps.Clone(v.Set)
	if all == nil {
		all = map[string]string{}
	}
	for _, set := range sets {
		name, value, err := t.parseSet(set)
		if err != nil {
			return kernel.Version{}, err
		}
		all[name] = value
	}
	for name := range all {
		if d, err := t.Find(name); err == nil && d.In(v.Release) == all[name] {
			delete(all, name)
		}
	}
	if len(all) == 0 {
		all = nil
	}
	changed := kernel.Version{Release: v.Release, Set: all}
	if v.Name != "" && !maps.Equal(v.Set, all) {
		changed.Name = v.Name + "+" + strings.Join(sets, ",")
	} else {
		changed.Name = v.Name
	}
	return changed, nil
}

// Parse returns the kernel that a text like "4.4.1" or "4.4.1 poll-scans-ring=off" describes: a release and settings.
func (t Table) Parse(text string) (kernel.Version, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return kernel.Version{}, fmt.Errorf("no kernel version given: there are %s", releases())
	}
	v, err := Release(words[0])
	if err != nil {
		return v, err
	}
	return t.Set(v, words[1:]...)
}

// Release returns the plain release of that name. The error suggests the nearest one.
func Release(name string) (kernel.Version, error) {
	v, err := kernel.ParseVersion(name)
	if err == nil {
		return v, nil
	}
	var names []string
	for _, r := range kernel.Releases() {
		names = append(names, r.String())
	}
	if near := nearest(name, names); near != "" {
		return v, fmt.Errorf("unknown kernel version %q: did you mean %q? There are %s", name, near, releases())
	}
	return v, err
}

// nearest prefers words that begin with what was written: 4.4, dump-reserve.
func nearest(written string, words []string) string {
	for _, w := range words {
		if written != "" && strings.HasPrefix(w, written) {
			return w
		}
	}
	return scenario.Nearest(written, words)
}

func releases() string {
	var names []string
	for _, r := range kernel.Releases() {
		names = append(names, r.String())
	}
	return strings.Join(names, ", ")
}
