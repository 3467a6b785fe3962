package version

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Maven is the order of https://maven.apache.org/pom.html#version-order-specification. Any text is a version to it.
func Maven() Order {
	return Order{
		Compare: func(a, b string) int { return compareMaven(parseMaven(a), parseMaven(b)) },
		Check: func(v string) error {
			odd := func(r rune) bool { return r <= ' ' || r == 0x7f }
			if v == "" || len(v) > maxVersion || !utf8.ValidString(v) || strings.ContainsFunc(v, odd) {
				return not(v, "a version of a Maven artifact")
			}
			return nil
		},
	}
}

// token is a part of a version: a number, or a qualifier. The zero token is a version's end.
type token struct {
	rank int
	text string // of a qualifier that has a rank of its own: ""
}

// The ranks of tokens, in their order. An empty qualifier that wasn't removed has a number behind it, so that it comes
// after an end. Before an end come the early ones, whose ranks are below 0.
const (
	rankEnd = iota
	rankEmpty
	rankPatch
	rankQualifier
	rankHyphenNumber // after a hyphen, or a change from letters to digits
	rankDotNumber
)

// parseMaven splits a version into tokens, and removes the zeros and empty qualifiers that mean nothing: those before a
// hyphen, and at the end.
func parseMaven(version string) []token {
	rest := strings.ToLower(version)
	var all []token
	for rank := rankDotNumber; ; {
		n := strings.IndexAny(rest, ".-_")
		if n < 0 {
			return trimTokens(appendTokens(all, rest, rank))
		}
		all = appendTokens(all, rest[:n], rank)
		if rank = rankHyphenNumber; rest[n] == '.' {
			rank = rankDotNumber
		}
		rest = rest[n+1:]
	}
}

// appendTokens adds what stands between two separators, cut where letters change to digits or back. rank is what a
// number at its begin has.
func appendTokens(all []token, word string, rank int) []token {
	if word == "" {
		return append(all, token{rank, "0"})
	}
	for word != "" {
		one, n := token{rank, ""}, digits(word)
		if n > 0 {
			one.text = word[:n]
		} else {
			if n = strings.IndexAny(word, "0123456789"); n < 0 {
				n = len(word)
			}
			one = qualifier(word[:n], word[n:])
		}
		all, word, rank = append(all, one), word[n:], rankHyphenNumber
	}
	return all
}

// qualifier returns the token of a qualifier. A letter stands for a name only where a number follows.
func qualifier(text, next string) token {
	early := []string{"alpha", "beta", "milestone", "rc", "snapshot"}
	short := map[string]string{"a": "alpha", "b": "beta", "m": "milestone"}
	if long, ok := short[text]; ok && next != "" {
		text = long
	}
	switch text {
	case "", "ga", "final", "release":
		return token{rankEmpty, ""}
	case "sp":
		return token{rankPatch, ""}
	case "cr":
		text = "rc"
	}
	if i := slices.Index(early, text); i >= 0 {
		return token{i - len(early), ""}
	}
	return token{rankQualifier, text}
}

func (t token) number() bool { return t.rank >= rankHyphenNumber }

func (t token) null() bool {
	return t.rank == rankEmpty || t.number() && strings.Trim(t.text, "0") == ""
}

// trimTokens works from the end to the start, so that what a removed token stood before is looked at, too. A qualifier
// counts as one that follows a hyphen, whatever it follows.
func trimTokens(all []token) []token {
	for i, one := range slices.Backward(all) {
		if one.null() && (i == len(all)-1 || all[i+1].rank != rankDotNumber) {
			all = slices.Delete(all, i, i+1)
		}
	}
	return all
}

// compareMaven orders the tokens one after the other, as a dictionary does words.
func compareMaven(a, b []token) int {
	for i := range max(len(a), len(b)) {
		var x, y token
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if c := x.compare(y); c != 0 {
			return c
		}
	}
	return 0
}

func (t token) compare(u token) int {
	if t.rank != u.rank || !t.number() {
		return cmp.Or(cmp.Compare(t.rank, u.rank), cmp.Compare(t.text, u.text))
	}
	return compareNumbers(t.text, u.text)
}
