package inventory

import (
	"cmp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

const (
	// few is how many names an error suggests.
	few = 3
	// maxWord is the longest word, in bytes, that is compared with names: comparing takes the product
	// of the two lengths.
	maxWord = 200
)

// near returns a few of the names that a person may have meant: those that begin with the word
// first, then those a few edits away, then those that hold it.
func near(word string, names []string) []string {
	type candidate struct {
		name string
		far  int
	}
	word = strings.ToLower(word)
	var found []candidate
	for _, name := range names {
		if far, ok := distance(word, strings.ToLower(name)); ok {
			found = append(found, candidate{name, far})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(a.far-b.far, len(a.name)-len(b.name), strings.Compare(a.name, b.name))
	})
	var best []string
	for _, c := range found[:min(few, len(found))] {
		best = append(best, c.name)
	}
	return best
}

// distance says how far a name is from a word, and whether that is near: an edit for each begun three
// letters, or the one within the other.
func distance(word, name string) (int, bool) {
	if word == "" || len(word) > maxWord || len(name) > maxWord {
		return 0, false
	}
	most := (len(word) + 2) / 3
	switch {
	case strings.HasPrefix(name, word):
		return 0, true
	case max(len(word)-len(name), len(name)-len(word)) <= most:
		if d := levenshtein.Distance(word, name, nil); d <= most {
			return d, true
		}
	}
	return most + 1, len(word) > 2 && strings.Contains(name, word)
}

// meant is a hint with names that a person may have meant, "" where none is near.
func meant(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "did you mean " + either(names) + "?"
}

// either joins words as a choice does: "a, b or c".
func either(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
