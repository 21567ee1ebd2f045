package versions

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"nlmmap/kernel"
)

// Extension is what the files of composed kernels are named with.
const Extension = ".kernel"

// Load returns the kernel that --kernel names: a release, the path of a composed kernel's file, such a path without its
// extension, or the release that is nearest to a kernel of that name. exact reports whether it is more than the nearest.
func (t Table) Load(name string) (v kernel.Version, exact bool, err error) {
	v, unknown := Release(name)
	if unknown == nil {
		return v, true, nil
	}
	for _, path := range []string{name, name + Extension} {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return v, false, err
		}
		defer f.Close()
		v, err = t.Read(path, f)
		return v, true, err
	}
	if IsRelease(name) {
		v.Release, err = Nearest(name)
		return v, false, err
	}
	return v, false, fmt.Errorf("%w, and no file of that name", unknown)
}

// Read reads a composed kernel: lines "name NAME", "kernel RELEASE" and "set NAME=VALUE", in any order, and comments
// that begin with #. Without a name the kernel is called like its settings. Errors begin with the file and the line.
func (t Table) Read(path string, r io.Reader) (kernel.Version, error) {
	var v kernel.Version
	var name string
	var sets []string
	found := false
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		key, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		rest = strings.TrimSpace(rest)
		var err error
		switch {
		case key == "" || key[0] == '#':
		case key == "name" && rest != "":
			name = rest
		case key == "kernel" && found:
			err = errors.New("a second kernel line")
		case key == "kernel":
			v, err = Release(rest)
			found = true
		case key == "set":
			_, _, err = t.parseSet(rest)
			sets = append(sets, rest)
		default:
			err = fmt.Errorf("unexpected line %q: expected name NAME, kernel RELEASE or set NAME=VALUE", lines.Text())
		}
		if err != nil {
			return kernel.Version{}, fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return kernel.Version{}, fmt.Errorf("%s: %w", path, err)
	}
	if !found {
		return kernel.Version{}, fmt.Errorf("%s: no kernel line: expected the release that the kernel is based on, as in kernel 4.4.1", path)
	}
	v, err := t.Set(v, sets...)
	v.Name = name
	return v, err
}

// Write writes a kernel as Read reads it.
func Write(w io.Writer, v kernel.Version) error {
	var b strings.Builder
	b.WriteString("# A composed kernel: use this file as nlmmap's --kernel.\n")
	if v.Name != "" {
		fmt.Fprintf(&b, "name %s\n", v.Name)
	}
	fmt.Fprintf(&b, "kernel %s\n", v.Release)
	var sets []string
	for name, value := range v.Set {
		sets = append(sets, name+"="+value)
	}
	slices.Sort(sets)
	for _, set := range sets {
		fmt.Fprintf(&b, "set %s\n", set)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
