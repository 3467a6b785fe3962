// Package metric reads selectors of time series, as PromQL's instant selectors are written:
// `http_requests_total{handler="/",code=~"5.."}`. It fetches nothing, and parses no exposition.
package metric

import (
	"regexp"
	"strings"

	"imx"
)

// Bounds of a selector: none that a person writes is nearly as large.
const (
	maxLength   = 1 << 10
	maxMatchers = 32
)

// Selector chooses the series of one name whose labels all of Matchers accept. One that Parse returned can match.
type Selector struct {
	Name     string
	Matchers []Matcher
}

// Matcher asks for a label's value; a label that isn't there has the value "".
type Matcher struct {
	Label string
	Op    Op
	Value string
	whole *regexp.Regexp // Value, of Like and Unlike, anchored at both ends
}

// Op is how a label's value is compared.
type Op string

// The comparisons. Expressions are RE2, and have to match the whole value.
const (
	Equal   Op = "="
	Unequal Op = "!="
	Like    Op = "=~"
	Unlike  Op = "!~"
)

// Matches reports whether the selector takes the series of that name; label returns a label's value, "" where it has none.
func (s Selector) Matches(name string, label func(string) string) bool {
	if name != s.Name {
		return false
	}
	for _, m := range s.Matchers {
		if !m.accepts(label(m.Label)) {
			return false
		}
	}
	return true
}

func (m Matcher) accepts(value string) bool {
	switch m.Op {
	case Equal:
		return value == m.Value
	case Unequal:
		return value != m.Value
	case Like:
		return m.whole.MatchString(value)
	case Unlike:
		return !m.whole.MatchString(value)
	}
	return false
}

// String returns the selector as Parse reads it.
func (s Selector) String() string {
	if len(s.Matchers) == 0 {
		return s.Name
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	all := make([]string, 0, len(s.Matchers))
	for _, m := range s.Matchers {
		all = append(all, m.Label+string(m.Op)+`"`+escape.Replace(m.Value)+`"`)
	}
	return s.Name + "{" + strings.Join(all, ",") + "}"
}

// IsName reports whether text can be the name of a series.
func IsName(text string) bool {
	for i := range len(text) {
		if c := text[i]; !letter(c) && c != ':' && (i == 0 || !digit(c)) {
			return false
		}
	}
	return text != ""
}

func letter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

func invalid(text, format string, args ...any) error {
	return imx.Errorf(imx.Invalid, "%q is no selector of metrics: "+format, append([]any{text}, args...)...).
		WithHint(`write it as http_requests_total or http_requests_total{code=~'5..', method="GET"}`)
}
