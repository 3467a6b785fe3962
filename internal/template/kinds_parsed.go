package template

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"imx"
)

// parsed is a value that templates write as a string.
func parsed[V any](word, shape string, parse func(string) (V, error), check func(V) string) kind[V] {
	return kind[V]{
		word: word,
		decode: func(x operand) (V, []flaw) {
			if x.value.Type() != cty.String {
				return *new(V), []flaw{{summary: "must be a " + word + " in quotes, not " + article(x.value.Type())}}
			}
			v, err := parse(x.value.AsString())
			if err != nil {
				return v, []flaw{{summary: "is " + quote(x.value.AsString()) + ", which is not a " + word, hint: "write it as " + shape}}
			}
			return v, nil
		},
		check: func(v V) []flaw { return some(flaw{summary: check(v)}) },
	}
}

func duration(least, most time.Duration) kind[imx.Duration] {
	return parsed("duration", `"10s", "1m30s" or "500ms"`,
		func(s string) (d imx.Duration, err error) { return d, d.UnmarshalText([]byte(s)) },
		func(d imx.Duration) string {
			if t := time.Duration(d); t < least || t > most {
				return fmt.Sprintf("is %v; it must be from %v to %v", t, least, most)
			}
			return ""
		})
}

func size(least, most imx.Size) kind[imx.Size] {
	return parsed("size", `"64MiB" or "1GiB"`,
		func(s string) (imx.Size, error) {
			if !sizeText(s) {
				return 0, imx.Errorf(imx.Invalid, "%q is not a size", s)
			}
			return imx.ParseSize(s)
		},
		func(s imx.Size) string {
			if s < least || s > most {
				return fmt.Sprintf("is %v; it must be from %v to %v", s, least, most)
			}
			return ""
		})
}

// sizeText keeps out what ParseFloat takes beyond digits: "NaN", "0x1p4", "1_000".
func sizeText(s string) bool {
	for i, r := range s {
		switch {
		case r >= '0' && r <= '9', i > 0 && r == '.':
		default:
			return i > 0 && (r == ' ' || r >= 'A' && r <= 'Z' || r == 'k') && len(s)-i <= len(" KiB")
		}
	}
	return s != ""
}

func mode(most imx.Mode) kind[imx.Mode] {
	return parsed("file mode", `"0644": octal, in quotes`,
		func(s string) (m imx.Mode, err error) {
			if _, err := strconv.ParseUint(s, 8, 16); err != nil {
				return 0, imx.Errorf(imx.Invalid, "%q is not a file mode", s)
			}
			return m, m.UnmarshalText([]byte(s))
		},
		func(m imx.Mode) string {
			if m > most {
				return fmt.Sprintf("is %v; it must be from 0000 to %v", m, most)
			}
			return ""
		})
}

// amount is a number of instances, or a part of those that are wanted.
func amount() kind[imx.Amount] {
	const word, most = "number or percentage", 100
	return kind[imx.Amount]{
		word: word,
		decode: func(x operand) (imx.Amount, []flaw) {
			if x.value.Type() == cty.Number {
				n, flaws := whole(0, maxReplicas).decode(x)
				return imx.Amount{Count: n}, flaws
			}
			if x.value.Type() != cty.String {
				return imx.Amount{}, wrongType(x, word)
			}
			text := x.value.AsString()
			digits, is := strings.CutSuffix(text, "%")
			n, err := strconv.ParseUint(digits, 10, 16)
			if !is || err != nil {
				return imx.Amount{}, []flaw{{summary: "is " + quote(text) + ", which is not a " + word, hint: `write it as "25%" or 2`}}
			}
			return imx.Amount{Percent: int(n)}, nil
		},
		check: func(a imx.Amount) []flaw {
			switch {
			case a.Count != 0 && a.Percent != 0:
				return []flaw{{summary: "is both a number and a percentage"}}
			case a.Percent < 0 || a.Percent > most:
				return []flaw{{summary: fmt.Sprintf("is %d%%; it must be from 0%% to %d%%", a.Percent, most)}}
			}
			return whole(0, maxReplicas).check(a.Count)
		},
	}
}

// oneOf is one of a few words.
func oneOf[V ~string](thing string, all ...V) kind[V] {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = string(v)
	}
	text := oneString("string", func(s string) flaw {
		if slices.Contains(names, s) {
			return flaw{}
		}
		return flaw{summary: "is " + quote(s) + ", which is no " + thing, hint: known(s, names, "", "")}
	})
	return kind[V]{
		word: text.word,
		decode: func(x operand) (V, []flaw) {
			s, flaws := text.decode(x)
			return V(s), flaws
		},
		check: func(v V) []flaw { return text.check(string(v)) },
	}
}

// day is a date, which stands for its first moment in UTC.
func day() kind[time.Time] {
	return parsed("date", `"2027-03-01"`,
		func(s string) (time.Time, error) { return time.Parse(time.DateOnly, s) },
		func(t time.Time) string {
			if t.IsZero() {
				return "is missing"
			}
			return ""
		})
}
