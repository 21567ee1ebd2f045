package scenario

import "fmt"

// suggest returns `: did you mean "x"?` for the word nearest to what was written, or nothing if none is near.
func suggest(written string, words []string) string {
	if near := Nearest(written, words); near != "" {
		return fmt.Sprintf(": did you mean %q?", near)
	}
	return ""
}

// Nearest returns the word that is the fewest edits away from what was written, or "" if all are too far away.
func Nearest(written string, words []string) string {
	const longest = 40 // nothing that long is a typing mistake
	if len(written) > longest {
		return ""
	}
	best, bestDistance := "", max(len(written)/2, 1)+1
	for _, w := range words {
		if d := editDistance(written, w); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b.
func editDistance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			d[i][j] = min(replace, d[i-1][j]+1, d[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
