package take

import (
	"path"
	"slices"
	"strings"
)

// Matches reports whether one of the patterns covers the path. A pattern is a path relative to the root; "*" and
// "?" stand for characters within one name, "**" for any number of names. A malformed one covers nothing.
func Matches(patterns []string, name string) bool {
	parts := strings.Split(name, "/")
	for _, p := range patterns {
		if match(strings.Split(p, "/"), parts) {
			return true
		}
	}
	return false
}

// match goes back to the last "**" alone where names differ: what an earlier one could take besides, the last
// can as well. So the time stays in proportion to both lengths, whatever a template says.
func match(pattern, name []string) bool {
	at, rest := -1, 0 // where the last "**" stands, and the first name that it doesn't cover
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			at, rest = p, n
			p++
		case p < len(pattern) && matchName(pattern[p], name[n]):
			p++
			n++
		case at >= 0:
			rest++
			p, n = at+1, rest
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}

func matchName(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// reaches reports whether a pattern may cover a path below the directory.
func reaches(pattern, dir string) bool {
	parts, names := strings.Split(pattern, "/"), strings.Split(dir, "/")
	if i := slices.Index(parts, "**"); i >= 0 && i < len(names) {
		return match(parts[:i], names[:i])
	}
	return len(parts) > len(names) && match(parts[:len(names)], names)
}
