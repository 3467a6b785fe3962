package metric_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"imx"
	"imx/internal/metric"
)

func TestASelectorTakesWhatAllOfItsMatchersAccept(t *testing.T) {
	series := map[string]string{"code": "503", "method": "GET", "path": "/a\nb"}
	for text, want := range map[string]bool{
		`requests_total`:                            true,
		` requests_total { } `:                      true,
		`requests`:                                  false,
		`requests_total{code="503"}`:                true,
		`requests_total{code="50"}`:                 false,
		`requests_total{code!="200", method="GET"}`: true,
		`requests_total{code!="200",method="PUT"}`:  false,
		`requests_total{code=~"5.."}`:               true,
		`requests_total{code=~'5..|4..',}`:          true,
		`requests_total{code=~"5"}`:                 false, // the whole value
		`requests_total{code=~"2..|5"}`:             false,
		`requests_total{code!~"5.."}`:               false,
		`requests_total{path=~"/a.b"}`:              true, // a dot is any character
		`requests_total{missing=""}`:                true,
		`requests_total{missing!=""}`:               false,
		`requests_total{missing=~".+"}`:             false,
		`requests_total{path="/a\nb"}`:              true,
	} {
		s, err := metric.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := s.Matches("requests_total", func(l string) string { return series[l] }); got != want {
			t.Errorf("%s takes %v: %v, want %v", text, series, got, want)
		}
	}
}

func TestWhatIsNoSelectorIsRefusedAndTheErrorSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		``:                        `it ends where the name of a metric is expected`,
		`5xx`:                     `at "5xx", the name of a metric is expected`,
		`a b`:                     `at "b", nothing more is expected`,
		`a{`:                      `it ends where the name of a label is expected`,
		`a{b}`:                    `at "}", =, !=, =~ or !~ is expected`,
		`a{b=c}`:                  `at "c}", a value in quotes is expected`,
		`a{b="c"`:                 `it ends where "," or "}" is expected`,
		`a{b="c" d="e"}`:          `at "d=\"e\"}", "," or "}" is expected`,
		`a{b="c}`:                 `a quote isn't closed`,
		`a{b="\d"}`:               `\d stands for nothing; a backslash is written \\`,
		`a{b="c\`:                 `a quote isn't closed`,
		`a{b=~"("}`:               `"(" is no regular expression`,
		`a{b=~"x)|(y"}`:           `"x)|(y" is no regular expression`,
		`a{b:c="d"}`:              `at ":c=\"d\"}", =, !=, =~ or !~ is expected`,
		`rate(a[5m])`:             `at "(a[5m])", nothing more is expected`,
		"a{b=\"\xff\"}":           `a value is not UTF-8`,
		strings.Repeat("a", 2000): `it has 2000 bytes, and may have 1024`,
		`a{` + strings.Repeat(`b="c",`, 40) + `}`: `it compares more than 32 labels`,
	} {
		_, err := metric.Parse(text)
		var e *imx.Error
		if !errors.As(err, &e) || e.Kind != imx.Invalid || !strings.Contains(e.Message, want) || e.Hint == "" {
			t.Errorf("%q: %v, want %q and a hint", text, err, want)
		}
	}
}

// Law: what a selector is written as reads as the same selector.
func TestASelectorReadsBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := metric.Selector{Name: rapid.StringMatching(`[a-zA-Z_:][a-zA-Z0-9_:]{0,9}`).Draw(t, "name")}
		for range rapid.IntRange(0, 3).Draw(t, "matchers") {
			s.Matchers = append(s.Matchers, metric.Matcher{
				Label: rapid.StringMatching(`[a-zA-Z_][a-zA-Z0-9_]{0,9}`).Draw(t, "label"),
				Op:    rapid.SampledFrom([]metric.Op{metric.Equal, metric.Unequal}).Draw(t, "op"),
				Value: rapid.StringOfN(rapid.RuneFrom([]rune("ab\"'\\\n,}{é")), 0, 9, -1).Draw(t, "value"),
			})
		}
		back, err := metric.Parse(s.String())
		if err != nil {
			t.Fatal(err)
		}
		if back.String() != s.String() || len(back.Matchers) != len(s.Matchers) {
			t.Fatalf("%v reads as %v", s, back)
		}
		labels := map[string]string{}
		for _, m := range s.Matchers {
			labels[m.Label] = m.Value
		}
		label := func(l string) string { return labels[l] }
		if back.Matches(s.Name, label) != s.Matches(s.Name, label) {
			t.Fatalf("%v and %v don't take the same", s, back)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{`a`, `a:b{c="d"}`, `a{b!~'x|y', c="\\\"\n",}`, `a{b=~"("}`, `a{`, `{b="c"}`} {
		f.Add(text, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		s, err := metric.Parse(text)
		if err != nil {
			return
		}
		if len(s.String()) > len(text) && len(s.String()) > 1024 {
			return // escapes made it longer than one may be
		}
		back, err := metric.Parse(s.String())
		if err != nil || back.String() != s.String() {
			t.Fatalf("%q is %q, which is %q: %v", text, s, back, err)
		}
		label := func(string) string { return value }
		if !metric.IsName(s.Name) || s.Matches(s.Name, label) != back.Matches(s.Name, label) {
			t.Fatalf("%q and %q don't take the same", text, s)
		}
	})
}
