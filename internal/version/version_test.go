package version_test

// Whether a program has a vulnerability hangs on which of two versions is later. Each order is held against the examples
// of its specification, and against what an order is.

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"imx/internal/version"
)

// orders are all orders, by name, with pieces that their versions are made of.
func orders() map[string]struct {
	version.Order

	pieces []string
} {
	return map[string]struct {
		version.Order

		pieces []string
	}{
		"semantic": {version.Semantic(), []string{"0", "1", "10", ".", "-", "+", "rc", "alpha", "v", "a1"}},
		"python":   {version.Python(), []string{"0", "1", "10", ".", "-", "_", "+", "!", "a", "rc", "post", "dev", "preview", "r", "v"}},
		"maven":    {version.Maven(), []string{"0", "1", "10", ".", "-", "_", "alpha", "a", "sp", "ga", "foo", "snapshot", "rc", "cr", "x"}},
	}
}

func TestVersionsAreInTheOrderOfTheirSpecification(t *testing.T) {
	for _, c := range []struct{ order, from, ascending string }{
		{"semantic", "semver.org, 11", "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.9.0 1.10.0 2.0.0"},
		{"semantic", "Go's pseudo-versions", "v0.0.0-20190101000000-aaaaaaaaaaaa v0.0.0-20200101000000-aaaaaaaaaaaa v0.0.1"},
		{"python", "PEP 440, Summary of permitted suffixes", "1.dev0 1.0.dev456 1.0a1 1.0a2.dev456 1.0a12.dev456 1.0a12 1.0b1.dev456 1.0b2 1.0b2.post345.dev456 1.0b2.post345 1.0rc1.dev456 1.0rc1 1.0 1.0+abc.5 1.0+abc.7 1.0+5 1.0.post456.dev34 1.0.post456 1.0.15 1.1.dev1"},
		{"python", "PEP 440, epochs", "2013.10 2014.04 1!1.0 1!1.1 1!2.0"},
		{"python", "PEP 440, final releases", "0.9 0.9.1 0.9.2 0.9.10 0.9.11 1.0 1.0.1 1.1 2.0 2.0.1"},
		{"maven", "pom.html, Version Order Specification", "1 1.1"},
		{"maven", "pom.html", "1-snapshot 1 1-sp"},
		{"maven", "pom.html", "1-foo2 1-foo10"},
		{"maven", "pom.html", "1.foo 1-1 1.1"},
		{"maven", "pom.html", "1-ga 1-sp"},
		{"maven", "pom.html", "1-ga.1 1-sp.1"},
		{"maven", "pom.html", "1-sp-1 1-ga-1"},
		{"maven", "pom.html", "1.k 1.7"},
		{"maven", "pom.html", "5.aardvark 5.zebra"},
		{"maven", "Maven's own order of qualifiers", "1-alpha2snapshot 1-alpha2 1-alpha-123 1-beta-2 1-beta123 1-m2 1-m11 1-rc 1-cr2 1-rc123 1-SNAPSHOT 1 1-sp 1-sp2 1-sp123 1-abc 1-def 1-pom-1 1-1-snapshot 1-1 1-2 1-123"},
		{"maven", "Maven's own order of numbers", "2.0 2.0.a 2-1 2.0.2 2.0.123 2.1.0 2.1-a 2.1b 2.1-c 2.1-1 2.1.0.1 2.2 2.123 11.a2 11.a11 11.b2 11.b11 11.m2 11.m11 11 11.a 11b 11c 11m"},
		{"maven", "releases that were", "2.0-beta9 2.0-rc1 2.0 2.3.1 2.12.0 2.12.2 2.15.0 2.17.1"},
	} {
		o, list := orders()[c.order], strings.Fields(c.ascending)
		for i, a := range list {
			for j, b := range list {
				if got, want := o.Compare(a, b), sign(i-j); sign(got) != want {
					t.Errorf("%s (%s): %s against %s is %d, not %d", c.order, c.from, a, b, got, want)
				}
			}
			if err := o.Check(a); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestSpellingsOfOneVersionAreEqual(t *testing.T) {
	for order, lines := range map[string][]string{
		"semantic": {"v1.2.3 1.2.3 1.2.3+build.7", "1.2 1.2.0"},
		"python": {
			"1.1RC1 1.1rc1 1.1-c1 1.1_pre.1 1.1.preview-01", "1.1a1 1.1.alpha1 1.1-a.1 v1.1a01", "1.2.dev2 1.2-dev2 1.2dev2", "1.0-1 1.0.post1 1.0rev1 1.0-r1",
			"1.0a 1.0a0", "1 1.0 1.0.0 0!1", "1.0+ubuntu-1 1.0+ubuntu_1 1.0+UBUNTU.1", "00001 1",
		},
		"maven": {
			"1 1.0 1.0.0 1-0 1.0-0 1.ga 1-ga 1.final 1. 1- 1.0.0-0.0.0", "1.0.0-foo.0.0 1-foo 1.foo", "1-a1 1-alpha-1 1alpha1", "1-1.foo-bar1baz-.1 1-1.foo-bar-1-baz-0.1",
			"1cr 1rc 1.RC", "2-abc 2.0.abc 2.0.0.abc",
		},
	} {
		o := orders()[order]
		for _, line := range lines {
			list := strings.Fields(line)
			for _, v := range list[1:] {
				if o.Compare(list[0], v) != 0 {
					t.Errorf("%s: %s isn't %s", order, v, list[0])
				}
			}
		}
	}
}

func TestWhatIsNoVersionIsRefused(t *testing.T) {
	for order, bad := range map[string][]string{
		"semantic": {"", "one", "1.2.3.4", "1.02.3", "1.0-", strings.Repeat("1", 600)},
		"python":   {"", "one", "1.0-", "1.0 beta gamma", "1..0", "1.0+", "1.0+a..b", "!1", "1.0.x", "2004d", strings.Repeat("1", 600)},
		"maven":    {"", "1 0", "1\x00", "1\xff", strings.Repeat("1", 600)},
	} {
		for _, v := range bad {
			if orders()[order].Check(v) == nil {
				t.Errorf("%s: %q is taken", order, v)
			}
		}
	}
}

func TestVersionsOfAnyTextAreInOneOrder(t *testing.T) {
	for name, o := range orders() {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			text := rapid.Custom(func(t *rapid.T) string {
				return strings.Join(rapid.SliceOfN(rapid.SampledFrom(o.pieces), 1, 8).Draw(t, "pieces"), "")
			})
			a, b, c := text.Draw(t, "a"), text.Draw(t, "b"), text.Draw(t, "c")
			if o.Compare(a, a) != 0 || sign(o.Compare(a, b)) != -sign(o.Compare(b, a)) {
				t.Fatalf("%s and %s aren't in one order", a, b)
			}
			if o.Compare(a, b) <= 0 && o.Compare(b, c) <= 0 && o.Compare(a, c) > 0 {
				t.Fatalf("%s, %s, %s, and the last before the first", a, b, c)
			}
			if o.Compare(a, b) == 0 && sign(o.Compare(a, c)) != sign(o.Compare(b, c)) {
				t.Fatalf("%s and %s are equal, but not to %s", a, b, c)
			}
		}))
	}
}

func TestGosReleasesAreNamedAsAdvisoriesNameThem(t *testing.T) {
	for name, want := range map[string]string{
		"go1.21rc2": "1.21.0-rc.2", "go1.22.1": "1.22.1", "go1.25.1 X:nodwarf5": "1.25.1", "1.20beta1": "1.20.0-beta.1", "devel go1.26-abc": "devel", "go1.9.2rc2": "1.9.2-rc.2",
	} {
		if got := version.Toolchain(name); got != want {
			t.Errorf("%s is %s, not %s", name, got, want)
		}
	}
}

func FuzzVersions(f *testing.F) {
	for _, v := range []string{"1.0.0-rc.1+b", "1!2.0a1.post3.dev4+l.5", "1-1.foo-bar1baz-.1", "v1.2"} {
		f.Add(v, "1")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for name, o := range orders() {
			if sign(o.Compare(a, b)) != -sign(o.Compare(b, a)) {
				t.Errorf("%s: %q and %q", name, a, b)
			}
			if o.Check(a) == nil && o.Compare(a, a) != 0 {
				t.Errorf("%s: %q isn't itself", name, a)
			}
		}
	})
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
