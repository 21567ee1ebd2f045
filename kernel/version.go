package kernel

import (
	"fmt"
	"sort"
	"strings"
)

// A Release is one of the kernels that were recorded.
type Release int

// The modelled releases, oldest first.
const (
	Linux3_10 Release = iota // 3.10.4
	Linux3_19                // 3.19.8
	Linux4_1                 // 4.1.18
	Linux4_4                 // 4.4.1
	Linux4_5                 // 4.5.7
	releases
)

var releaseNames = [releases]string{"3.10.4", "3.19.8", "4.1.18", "4.4.1", "4.5.7"}

func (r Release) String() string {
	if r < 0 || r >= releases {
		return fmt.Sprintf("Release(%d)", int(r))
	}
	return releaseNames[r]
}

// Releases returns all modelled releases, oldest first.
func Releases() []Release {
	all := make([]Release, releases)
	for i := range all {
		all[i] = Release(i)
	}
	return all
}

// A Version is the kernel that is modelled: a release, and what differs from it. A vendor's kernel is a release plus
// backports, so each named difference can be set on its own. The zero Version is 3.10.4 as released.
type Version struct {
	// Name is what people call it; empty for a plain release.
	Name    string
	Release Release
	// Set holds values of named differences that differ from the release's, by name: "on" and "off" for a switch, a
	// name for a choice, digits for a number.
	Set map[string]string
}

// ParseVersion returns the plain release with the given name, "4.4.1". The error lists the names there are.
func ParseVersion(name string) (Version, error) {
	for r, n := range releaseNames {
		if n == name {
			return Version{Release: Release(r)}, nil
		}
	}
	return Version{}, fmt.Errorf("unknown kernel version %q: there are %s", name, strings.Join(releaseNames[:], ", "))
}

func (v Version) String() string {
	if v.Name != "" {
		return v.Name
	}
	if len(v.Set) == 0 {
		return v.Release.String()
	}
	var sets []string
	for name, value := range v.Set {
		sets = append(sets, name+"="+value)
	}
	sort.Strings(sets)
	return v.Release.String() + "+" + strings.Join(sets, ",")
}

// Resolve stores v's value of each difference of a table in the field that it is bound to. The error names a value
// that a difference does not have; names that are in no table are found by whoever has all tables.
func (v Version) Resolve(table []Difference) error {
	for i := range table {
		d := &table[i]
		value := d.Value.in[v.Release]
		if text, ok := v.Set[d.Name]; ok {
			var err error
			if value, err = d.Parse(text); err != nil {
				return err
			}
		}
		if d.Value.store != nil {
			d.Value.store(value)
		}
	}
	return nil
}
