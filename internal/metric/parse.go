package metric

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Parse reads a selector: the name of a metric, and in braces what its labels have to be. Values stand in double or
// single quotes, with \\, \n and an escaped quote. Errors: Invalid, which say what is wrong where.
func Parse(text string) (Selector, error) {
	if len(text) > maxLength {
		return Selector{}, invalid(text[:40]+"...", "it has %d bytes, and may have %d", len(text), maxLength)
	}
	r := &reader{text: text, rest: text}
	s := Selector{Name: r.word(':')}
	if s.Name == "" {
		return Selector{}, r.wrong("the name of a metric")
	}
	if r.take("{") {
		for !r.take("}") {
			m, err := r.matcher()
			if err != nil {
				return Selector{}, err
			}
			if s.Matchers = append(s.Matchers, m); len(s.Matchers) > maxMatchers {
				return Selector{}, invalid(text, "it compares more than %d labels", maxMatchers)
			}
			if !r.take(",") && !strings.HasPrefix(r.rest, "}") {
				return Selector{}, r.wrong(`"," or "}"`)
			}
		}
	}
	if r.space(); r.rest != "" {
		return Selector{}, r.wrong("nothing more")
	}
	return s, nil
}

// reader takes a selector apart from its front.
type reader struct{ text, rest string }

func (r *reader) wrong(want string) error {
	if r.rest == "" {
		return invalid(r.text, "it ends where %s is expected", want)
	}
	return invalid(r.text, "at %q, %s is expected", r.rest, want)
}

func (r *reader) space() { r.rest = strings.TrimLeft(r.rest, " \t\n") }

// take takes what the rest begins with, and space before and after it.
func (r *reader) take(what string) bool {
	r.space()
	rest, ok := strings.CutPrefix(r.rest, what)
	if ok {
		r.rest = rest
		r.space()
	}
	return ok
}

// word takes a name of letters, digits, "_" and one more character; "" if there is none.
func (r *reader) word(also byte) string {
	r.space()
	n := 0
	for n < len(r.rest) && (letter(r.rest[n]) || r.rest[n] == also || n > 0 && digit(r.rest[n])) {
		n++
	}
	word := r.rest[:n]
	r.rest = r.rest[n:]
	r.space()
	return word
}

func (r *reader) matcher() (Matcher, error) {
	m := Matcher{Label: r.word('_')}
	if m.Label == "" {
		return m, r.wrong("the name of a label")
	}
	for _, op := range []Op{Like, Unlike, Unequal, Equal} { // the longer one first
		if r.take(string(op)) {
			m.Op = op
			break
		}
	}
	if m.Op == "" {
		return m, r.wrong("=, !=, =~ or !~")
	}
	var err error
	if m.Value, err = r.quoted(); err != nil {
		return m, err
	}
	if m.Op == Like || m.Op == Unlike {
		if m.whole, err = regexp.Compile("^(?s:" + m.Value + ")$"); err != nil {
			return m, invalid(r.text, "%q is no regular expression: %w", m.Value, err)
		}
		if _, err := regexp.Compile(m.Value); err != nil { // what closes the group early, and opens another
			return m, invalid(r.text, "%q is no regular expression: %w", m.Value, err)
		}
	}
	return m, nil
}

// quoted takes a value in quotes.
func (r *reader) quoted() (string, error) {
	if r.rest == "" || r.rest[0] != '"' && r.rest[0] != '\'' {
		return "", r.wrong("a value in quotes")
	}
	quote := r.rest[0]
	var value strings.Builder
	for i := 1; i < len(r.rest); i++ {
		c := r.rest[i]
		switch {
		case c == quote:
			r.rest = r.rest[i+1:]
			if !utf8.ValidString(value.String()) {
				return "", invalid(r.text, "a value is not UTF-8")
			}
			return value.String(), nil
		case c != '\\':
			value.WriteByte(c)
			continue
		}
		if i++; i == len(r.rest) {
			break
		}
		switch c := r.rest[i]; c {
		case '\\', '"', '\'':
			value.WriteByte(c)
		case 'n':
			value.WriteByte('\n')
		default:
			return "", invalid(r.text, `\%c stands for nothing; a backslash is written \\`, c)
		}
	}
	return "", invalid(r.text, "a quote isn't closed")
}
