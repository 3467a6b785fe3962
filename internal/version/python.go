package version

import (
	"cmp"
	"slices"
	"strings"
)

// Python is the order of PEP 440 (https://packaging.python.org/en/latest/specifications/version-specifiers/), which
// takes many spellings of one version: "1.0-ALPHA.1" is "1.0a1".
func Python() Order {
	return Order{
		Compare: func(a, b string) int {
			x, _ := parsePython(a)
			y, _ := parsePython(b)
			return x.compare(y)
		},
		Check: func(v string) error {
			if _, ok := parsePython(v); !ok {
				return not(v, "a version of a Python package")
			}
			return nil
		},
	}
}

// python is a version by its parts. Where one is missing, its number is "".
type python struct {
	epoch   string
	release []string // without the zeros at the end
	pre     string   // "a", "b" or "rc"
	number  string   // of pre
	post    string
	dev     string
	local   []string
}

// parsePython reads the appendix's pattern. ok is false for what isn't of it.
func parsePython(text string) (v python, ok bool) {
	s := pythonScanner{strings.ToLower(strings.Trim(text, " \t\r\n\f\v"))}
	if len(text) > maxVersion {
		return v, false
	}
	s.cut("v")
	first := s.number()
	if first != "" && s.cut("!") {
		v.epoch, first = first, s.number()
	}
	for first != "" {
		v.release = append(v.release, first)
		if first = ""; len(s.rest) > 1 && s.rest[0] == '.' && digits(s.rest[1:]) > 0 {
			s.rest = s.rest[1:]
			first = s.number()
		}
	}
	if len(v.release) == 0 {
		return v, false
	}
	for i := len(v.release) - 1; i > 0 && strings.Trim(v.release[i], "0") == ""; i-- {
		v.release = v.release[:i]
	}
	v.pre, v.number = s.part([][2]string{{"alpha", "a"}, {"beta", "b"}, {"preview", "rc"}, {"pre", "rc"}, {"rc", "rc"}, {"a", "a"}, {"b", "b"}, {"c", "rc"}})
	if len(s.rest) > 1 && s.rest[0] == '-' && digits(s.rest[1:]) > 0 {
		s.rest = s.rest[1:]
		v.post = s.number()
	} else {
		_, v.post = s.part([][2]string{{"post", "post"}, {"rev", "post"}, {"r", "post"}})
	}
	_, v.dev = s.part([][2]string{{"dev", "dev"}})
	if s.cut("+") {
		v.local, ok = localPython(s.rest)
		return v, ok
	}
	return v, s.rest == ""
}

// localPython reads what follows a plus.
func localPython(text string) ([]string, bool) {
	parts := strings.Split(strings.NewReplacer("-", ".", "_", ".").Replace(text), ".")
	odd := func(p string) bool { return p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789") != "" }
	return parts, !slices.ContainsFunc(parts, odd)
}

type pythonScanner struct{ rest string }

func (s *pythonScanner) cut(prefix string) bool {
	rest, ok := strings.CutPrefix(s.rest, prefix)
	s.rest = rest
	return ok
}

func (s *pythonScanner) number() string {
	n := digits(s.rest)
	text := s.rest[:n]
	s.rest = s.rest[n:]
	return text
}

// part reads one of the words, which separators may surround, and its number, "0" if it has none. It reads nothing
// where none of them comes.
func (s *pythonScanner) part(words [][2]string) (word, number string) {
	separated := func(text string) string {
		if text != "" && strings.ContainsRune("-_.", rune(text[0])) {
			return text[1:]
		}
		return text
	}
	rest := separated(s.rest)
	for _, w := range words {
		after, ok := strings.CutPrefix(rest, w[0])
		if !ok {
			continue
		}
		if s.rest = after; digits(separated(after)) > 0 {
			s.rest = separated(after)
		}
		return w[1], cmp.Or(s.number(), "0")
	}
	return "", ""
}

func (v python) compare(w python) int {
	if c := cmp.Or(compareNumbers(v.epoch, w.epoch), slices.CompareFunc(v.release, w.release, compareNumbers)); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(v.stage(), w.stage()), compareNumbers(v.number, w.number),
		compareOptional(v.post, w.post, -1), compareOptional(v.dev, w.dev, 1),
		slices.CompareFunc(v.local, w.local, compareLocal),
	)
}

// stage orders what comes before a release: a development version of it is before all of its others, but one of a
// later stage only before that.
func (v python) stage() int {
	switch {
	case v.pre == "" && v.post == "" && v.dev != "":
		return 0
	case v.pre == "":
		return 4
	}
	return 1 + slices.Index([]string{"a", "b", "rc"}, v.pre)
}

// compareOptional orders numbers of which one may be missing; missing says where such a version is: -1 before the
// others, 1 after them.
func compareOptional(a, b string, missing int) int {
	switch {
	case a == "" && b == "":
		return 0
	case a == "":
		return missing
	case b == "":
		return -missing
	}
	return compareNumbers(a, b)
}

// compareLocal orders words before numbers.
func compareLocal(a, b string) int {
	x, y := digits(a) == len(a), digits(b) == len(b)
	switch {
	case x && y:
		return compareNumbers(a, b)
	case x:
		return 1
	case y:
		return -1
	}
	return cmp.Compare(a, b)
}
