package leak

import (
	"regexp"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"
	gitleaks "github.com/zricethezav/gitleaks/v8/config"

	"imx"
)

// From is the Rule.From of all rules of this package.
const From = "gitleaks"

// prefix stands before gitleaks' name of a rule, so that it is none of imx's or of a user's.
const prefix = "secret-"

// config is gitleaks' own configuration, as far as it says what a secret looks like.
type config struct {
	Allow allowance `toml:"allowlist"`
	Rules []entry   `toml:"rules"`
}

type entry struct {
	ID          string      `toml:"id"`
	Description string      `toml:"description"`
	Regex       string      `toml:"regex"`
	Path        string      `toml:"path"`
	Entropy     float64     `toml:"entropy"`
	Group       int         `toml:"secretGroup"`
	Keywords    []string    `toml:"keywords"`
	Allow       []allowance `toml:"allowlists"`
}

// allowance says what is no secret although it looks like one.
type allowance struct {
	Condition string   `toml:"condition"` // "AND": all of Paths and Regexes must hold; else one of them
	Target    string   `toml:"regexTarget"`
	Paths     []string `toml:"paths"`
	Regexes   []string `toml:"regexes"`
	Stopwords []string `toml:"stopwords"`
}

// rule is an entry whose patterns are made when they are needed first: most never are.
type rule struct {
	entry

	about imx.Rule
	look  func() pattern // nil for a rule about names of files alone
	path  *regexp.Regexp
	allow func() []exception
}

// exception is an allowance ready to be asked.
type exception struct {
	allowance

	paths, regexes *regexp.Regexp // nil for none
}

func newRule(e entry) rule {
	r := rule{entry: e, about: describe(e)}
	if e.Regex != "" {
		r.look = sync.OnceValue(func() pattern { return newPattern(e.Regex) })
	}
	if e.Path != "" {
		r.path = regexp.MustCompile(e.Path)
	}
	r.allow = sync.OnceValue(func() []exception {
		var all []exception
		for _, a := range e.Allow {
			all = append(all, newException(a))
		}
		return all
	})
	return r
}

func newException(a allowance) exception {
	for i, w := range a.Stopwords {
		a.Stopwords[i] = strings.ToLower(w)
	}
	return exception{allowance: a, paths: anyOf(a.Paths), regexes: anyOf(a.Regexes)}
}

// anyOf joins patterns to one, nil for none.
func anyOf(patterns []string) *regexp.Regexp {
	if len(patterns) == 0 {
		return nil
	}
	return regexp.MustCompile("(?:" + strings.Join(patterns, ")|(?:") + ")")
}

// match is a place that a rule's pattern fits.
type match struct{ whole, secret, lines string }

// covers reports whether the exception is for a match in a file.
func (x exception) covers(name string, m match) bool {
	byPath := x.paths != nil && x.paths.MatchString(name)
	target := m.secret
	switch x.Target {
	case "match":
		target = m.whole
	case "line":
		target = m.lines
	}
	byText := x.regexes != nil && x.regexes.MatchString(target)
	low := strings.ToLower(m.secret)
	byWord := false
	for _, w := range x.Stopwords {
		byWord = byWord || strings.Contains(low, w)
	}
	if x.Condition == "AND" {
		return (x.paths == nil || byPath) && (x.regexes == nil || byText) && (len(x.Stopwords) == 0 || byWord)
	}
	return byPath || byText || byWord
}

// describe makes what people read about a rule.
func describe(e entry) imx.Rule {
	return imx.Rule{
		ID: prefix + e.ID, Title: strings.TrimSuffix(e.Description, "."), Level: imx.Critical, From: From,
		Description: "Text that looks like a secret, in a template, in a file that it takes in or in one beside it.",
		Why:         "Whoever can read the template, its repository or the image has the secret, and so has everybody who could read them before.",
		Fix:         "Revoke it where it was issued, and take it out of the text: have the program read it from a volume. If it is no secret, write a waiver.",
		Links:       []string{"https://github.com/gitleaks/gitleaks"},
	}
}

// load reads the rules that gitleaks' module has in it. They are part of the program: that they can be read is tested.
func load() config {
	var c config
	if _, err := toml.Decode(gitleaks.DefaultConfig, &c); err != nil {
		panic("leak: the rules of gitleaks: " + err.Error())
	}
	return c
}
