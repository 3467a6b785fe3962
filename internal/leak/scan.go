package leak

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"imx"
)

// Scanner holds texts against the rules. It is safe for concurrent use.
type Scanner struct {
	rules  []rule
	always []int   // rules without keywords
	words  *words  // all keywords
	of     [][]int // by keyword: its rules
	except exception

	keepers []keeper
}

// New returns a Scanner with the shipped rules. It takes some milliseconds: keep it.
func New() *Scanner {
	c := load()
	s := &Scanner{except: newException(c.Allow), keepers: keepers()}
	index := map[string]int{}
	var all []string
	for i, e := range c.Rules {
		s.rules = append(s.rules, newRule(e))
		if len(e.Keywords) == 0 {
			s.always = append(s.always, i)
		}
		for _, k := range e.Keywords {
			k = strings.ToLower(k)
			if _, ok := index[k]; !ok {
				index[k] = len(all)
				all, s.of = append(all, k), append(s.of, nil)
			}
			s.of[index[k]] = append(s.of[index[k]], i)
		}
	}
	s.words = newWords(all)
	return s
}

// Rules describes all rules: gitleaks', in the order of their names, and those for files that are known by name.
func (s *Scanner) Rules() []imx.Rule {
	var all []imx.Rule
	for _, r := range s.rules {
		all = append(all, r.about)
	}
	for _, k := range s.keepers {
		all = append(all, k.about)
	}
	return all
}

// maxSecrets bounds what one text can make imx say.
const maxSecrets = 1000

// Secret is one place of a text that a rule takes for a secret. Begin and End are bytes of the text.
type Secret struct {
	Rule       imx.Rule
	Begin, End int
}

// span is a part of a text.
type span struct{ begin, end int }

// Find returns the secrets in a text in the order of their places, the first thousand of each rule, also those that are encoded
// (base64, hexadecimal, percent); name decides, as a path, which exceptions hold and what programs keep in such a file.
func (s *Scanner) Find(name string, text []byte) []Secret {
	all := s.named(name, text)
	if s.except.paths == nil || !s.except.paths.MatchString(name) {
		all = append(append(all, s.plain(name, text)...), s.encoded(name, text)...)
	}
	slices.SortStableFunc(all, func(a, b Secret) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(generic(a), generic(b)))
	})
	return distinct(all)
}

// encoded returns the secrets that can be read only when what is encoded is decoded.
func (s *Scanner) encoded(name string, text []byte) []Secret {
	var all []Secret
	v := view{text: text}
	v, more := v.decoded()
	for depth := 1; more; depth++ {
		for _, found := range s.plain(name, v.text) {
			if at, ok := v.original(found); ok {
				all = append(all, at)
			}
		}
		if depth == maxDepth {
			break
		}
		v, more = v.decoded()
	}
	return all
}

// plain returns the secrets that can be read as they stand.
func (s *Scanner) plain(name string, text []byte) []Secret {
	if len(text) == 0 {
		return nil
	}
	near := s.near(text)
	var all []Secret
	for i, r := range s.rules {
		if len(near[i]) == 0 || r.look == nil || r.path != nil && !r.path.MatchString(name) {
			continue
		}
		all = append(all, s.fits(r, name, text, near[i])...)
	}
	return all
}

// near returns for each rule the parts of the text that are to be looked at.
func (s *Scanner) near(text []byte) [][]span {
	near := make([][]span, len(s.rules))
	s.words.each(text, func(word, end int) {
		for _, i := range s.of[word] {
			if s.rules[i].look == nil {
				continue
			}
			if p := s.rules[i].look(); !p.name || assigned(text[end:]) {
				near[i] = widened(near[i], span{max(0, end-p.reach), min(len(text), end+p.reach)})
			}
		}
	})
	for _, i := range s.always {
		near[i] = []span{{0, len(text)}}
	}
	return near
}

// widened adds a span that begins behind all others.
func widened(spans []span, s span) []span {
	if n := len(spans); n > 0 && spans[n-1].end >= s.begin {
		spans[n-1].end = max(spans[n-1].end, s.end)
		return spans
	}
	return append(spans, s)
}

// fits returns where a rule's pattern fits in parts of a text and no exception holds.
func (s *Scanner) fits(r rule, name string, text []byte, parts []span) []Secret {
	var all []Secret
	for _, part := range parts {
		for _, at := range r.look().FindAllSubmatchIndex(text[part.begin:part.end], maxSecrets) {
			secret := span{at[0] + part.begin, at[1] + part.begin}
			whole := span{r.look().named(text, secret.begin), secret.end}
			if g := group(r, at); g > 0 {
				secret = span{at[2*g] + part.begin, at[2*g+1] + part.begin}
			}
			m := match{whole: strings.Trim(string(text[whole.begin:whole.end]), "\n"), secret: string(text[secret.begin:secret.end])}
			if r.Entropy != 0 && entropy(m.secret) <= r.Entropy {
				continue
			}
			m.lines = string(text[lineBegin(text, whole.begin):lineEnd(text, whole.begin+len(m.whole))])
			if s.except.covers("", m) || slices.ContainsFunc(r.allow(), func(x exception) bool { return x.covers(name, m) }) {
				continue
			}
			all = append(all, Secret{r.about, secret.begin, secret.end})
			if len(all) == maxSecrets {
				return all
			}
		}
	}
	return all
}

// group is which group of a match has the secret, 0 for the whole match.
func group(r rule, at []int) int {
	if r.Group > 0 {
		return r.Group
	}
	for g := 1; 2*g < len(at); g++ {
		if at[2*g] >= 0 && at[2*g+1] > at[2*g] {
			return g
		}
	}
	return 0
}

// generic sorts the rules that take anything for a secret, by its name or its file's, behind those that know what it is.
func generic(s Secret) int {
	if s.Rule.From == fromNames || strings.Contains(s.Rule.ID, "generic") {
		return 1
	}
	return 0
}

// distinct keeps one secret of those that overlap: the first that knows what it is.
func distinct(all []Secret) []Secret {
	var kept []Secret
	for _, s := range all {
		n := len(kept)
		switch {
		case n == 0 || kept[n-1].End <= s.Begin:
			kept = append(kept, s)
		case generic(kept[n-1]) > generic(s):
			s.Begin, s.End = min(s.Begin, kept[n-1].Begin), max(s.End, kept[n-1].End)
			kept[n-1] = s
		default:
			kept[n-1].End = max(kept[n-1].End, s.End)
		}
	}
	return kept
}

func lineBegin(text []byte, at int) int { return bytes.LastIndexByte(text[:at], '\n') + 1 }

func lineEnd(text []byte, at int) int {
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i
	}
	return len(text)
}

// entropy is Shannon's, as gitleaks reckons it: by the characters, over the number of bytes.
func entropy(s string) float64 {
	counts := map[rune]int{}
	for _, c := range s {
		counts[c]++
	}
	sum := 0.0
	for _, n := range counts {
		f := float64(n) / float64(len(s))
		sum -= f * math.Log2(f)
	}
	return sum
}

// IsText reports whether something is worth looking at: no NUL in what a person would see first.
func IsText(b []byte) bool {
	head := b[:min(len(b), 8000)]
	return !bytes.ContainsRune(head, 0) && (utf8.Valid(head) || utf8.Valid(head[:max(0, len(head)-utf8.UTFMax)]))
}
