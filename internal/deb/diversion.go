package deb

import "strings"

// Diversions say which paths' files lie elsewhere in a root, because a script said so (dpkg-divert(1)).
// Paths are as dpkg has them, absolute.
type Diversions map[string]Diversion

// Diversion is where the file of a path lies, unless the package By brings it. By is ":" for none.
type Diversion struct{ To, By string }

// ReadDiversions reads dpkg's file of diversions: three lines of each, which are the path, where
// its file lies, and the package. An end that is cut off is left out.
func ReadDiversions(text string) Diversions {
	d := Diversions{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for ; len(lines) >= 3; lines = lines[3:] {
		d[lines[0]] = Diversion{To: lines[1], By: lines[2]}
	}
	return d
}

// Place returns where a path's file lies that the package brings.
func (d Diversions) Place(pkg, name string) string {
	if other, ok := d[name]; ok && other.By != pkg {
		return other.To
	}
	return name
}
