package scenario

import (
	"fmt"
	"path/filepath"
	"strings"
)

// namespaceHeader begins the comment, among those above the first step, that says where a file's tasks run.
const namespaceHeader = "# namespace:"

// Values of the header.
const (
	freshNamespace   = "fresh"
	initialNamespace = "initial"
)

// namespace returns the value of the header, nothing where there is none.
func namespace(comments []string) (value string, line int) {
	for i, c := range comments {
		if text, ok := strings.CutPrefix(c, namespaceHeader); ok {
			return strings.TrimSpace(text), i + 1
		}
	}
	return "", 0
}

// checkNamespace refuses a header that means nothing, and says in which of the comments it is.
func checkNamespace(comments []string) (line int, err error) {
	switch value, line := namespace(comments); {
	case line == 0, value == freshNamespace, value == initialNamespace:
		return 0, nil
	default:
		return line, fmt.Errorf("unknown namespace %q: expected %s or %s", shorten(value), freshNamespace, initialNamespace)
	}
}

// InitNet reports whether the scenario runs in the initial network namespace and not in a fresh one: whether it begins
// with a comment "# namespace: initial". A file without that header runs there if its name begins with "init_": so say
// the recordings that are older than the header.
func (f *File) InitNet() bool {
	comments := f.Trailer
	if len(f.Steps) > 0 {
		comments = f.Steps[0].Before
	}
	if value, line := namespace(comments); line > 0 {
		return value == initialNamespace
	}
	return strings.HasPrefix(filepath.Base(f.Name), "init_")
}
