package template

import (
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

const (
	// maxListed is how many names a hint lists when none of them is near.
	maxListed = 8
	// maxWord is the longest word, in bytes, that is compared with names: the comparison takes
	// the product of the two lengths.
	maxWord = 200
)

// nearest returns the name that a person most likely meant, or false if none is near enough: one
// edit for each three letters.
func nearest(word string, names []string) (string, bool) {
	if len(word) > maxWord {
		return "", false
	}
	best, least := "", max(1, len(word)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best, best != ""
}

// distance counts edits; two neighbours that changed places are one.
func distance(a, b string) int {
	for i := 1; i < len(a) && len(a) == len(b); i++ {
		if a[i-1] == b[i] && a[i] == b[i-1] && a[i] != a[i-1] && a[:i-1] == b[:i-1] && a[i+1:] == b[i+1:] {
			return 1
		}
	}
	return levenshtein.Distance(a, b, nil)
}

// known is the hint for an unknown name: the nearest one, else those that there are, each with a
// prefix as the person would write it, else what to do when there are none.
func known(word string, names []string, prefix, none string) string {
	near, ok := nearest(word, names)
	switch {
	case ok:
		return "did you mean " + prefix + near + "?"
	case len(names) == 0:
		return none
	}
	listed := make([]string, 0, maxListed)
	for _, n := range names[:min(maxListed, len(names))] {
		listed = append(listed, prefix+n)
	}
	switch {
	case len(names) == 1:
		return "there is only " + listed[0]
	case len(names) > maxListed:
		return "there are " + strings.Join(listed, ", ") + " and more"
	}
	return "there are " + enumerate(listed)
}

// enumerate joins words as a sentence does: "a, b and c".
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// walk visits every name once, what it leads to first. It returns the names in that order, and
// each circle that it came upon, from its first name on.
func walk(names []string, next func(string) []string) (sorted []string, circles [][]string) {
	const open, closed = 1, 2
	state := map[string]int{}
	var trail []string
	var visit func(string)
	visit = func(n string) {
		switch state[n] {
		case closed:
			return
		case open:
			circles = append(circles, slices.Clone(trail[slices.Index(trail, n):]))
			return
		}
		state[n] = open
		trail = append(trail, n)
		for _, m := range next(n) {
			visit(m)
		}
		trail = trail[:len(trail)-1]
		state[n] = closed
		sorted = append(sorted, n)
	}
	for _, n := range names {
		visit(n)
	}
	return sorted, circles
}
