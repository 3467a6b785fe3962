package leak

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// pattern is a rule's regular expression, and how far around a keyword it has to be tried.
type pattern struct {
	*regexp.Regexp

	name  bool // a match may begin with a name, of which the expression has lost the beginning: see named
	reach int
}

// Many expressions begin with what may be the beginning of a variable's name. Trying that at each byte takes most of a
// scan's time. It may be empty: without it the same secrets are found, and named gives it back.
const (
	nameBegin = `[\w.-]{0,50}?`
	maxName   = 50
)

// Where an expression's matches have no greatest length they are cut off at this one. Only keys in PEM are longer.
const (
	maxMatch = 2 << 10
	maxPEM   = 32 << 10
)

func newPattern(text string) pattern {
	p := pattern{}
	if rest, ok := strings.CutPrefix(text, "(?i)"+nameBegin); ok {
		text, p.name = "(?i)"+rest, true
	}
	p.Regexp = regexp.MustCompile(text)
	most := maxMatch
	if strings.Contains(text, "PRIVATE") {
		most = maxPEM
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		panic("leak: " + err.Error()) // it was compiled above
	}
	p.reach = longest(tree, most)
	return p
}

// named is where a match begins with the whole of its name.
func (p pattern) named(text []byte, begin int) int {
	if !p.name {
		return begin
	}
	for n := 0; n < maxName && begin > 0 && isName(text[begin-1]); n++ {
		begin--
	}
	return begin
}

func isName(c byte) bool {
	return c == '_' || c == '.' || c == '-' || c >= '0' && c <= '9' || lower(c) >= 'a' && lower(c) <= 'z'
}

// longest returns how many characters a match can have, at most most.
func longest(re *syntax.Regexp, most int) int {
	n := 0
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		n = 1
	case syntax.OpStar, syntax.OpPlus:
		return most
	case syntax.OpRepeat:
		if re.Max < 0 {
			return most
		}
		n = re.Max * longest(re.Sub[0], most)
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			n = max(n, longest(sub, most))
		}
	case syntax.OpConcat, syntax.OpCapture, syntax.OpQuest:
		for _, sub := range re.Sub {
			n += longest(sub, most)
		}
	default: // places have no length
	}
	return min(n, most)
}

// Expressions that begin with a name go on with at most 20 of its characters, 3 of spaces and quotes, a sign that assigns,
// and a secret of at least 8: assigned leaves room for a keyword that isn't the whole of what the expression names.
const (
	maxGap    = 40
	minSecret = 8
)

// assigned reports whether what stands behind a keyword can be the end of a name and a value for it. Most of what stands behind
// "key" or "token" can't, and needs no expression.
func assigned(rest []byte) bool {
	i := 0
	for i < len(rest) && i < maxGap && (isName(rest[i]) || strings.IndexByte(" \t\r\n\f'\"", rest[i]) >= 0) {
		i++
	}
	if i == len(rest) || strings.IndexByte("=>:|?,", rest[i]) < 0 {
		return false
	}
	for i < len(rest) && strings.IndexByte("=>:|?,` \t\r\n\f'\"", rest[i]) >= 0 {
		i++
	}
	if len(rest)-i < minSecret {
		return false
	}
	for _, c := range rest[i : i+minSecret] {
		if strings.IndexByte(" \t\r\n\f'\"`;,(){}", c) >= 0 {
			return false
		}
	}
	return true
}
