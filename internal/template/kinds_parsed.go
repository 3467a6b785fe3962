package template

import (
	"fmt"
	"strconv"
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
