// Package version orders versions as the ecosystems of languages do: semantic ones (Go, npm, crates.io), Python's and
// Maven's. It reads no ranges and knows nothing of Debian's versions, which deb compares.
package version

import (
	"cmp"
	"strings"

	"golang.org/x/mod/semver"

	"imx"
)

// Order is the order of one ecosystem's versions. Compare is a total order of what Check takes; what Check refuses it
// orders in some way.
type Order struct {
	Compare func(a, b string) int
	Check   func(v string) error // Errors: Invalid for what isn't a version
}

// maxVersion is how long a version may be, in bytes.
const maxVersion = 512

// Semantic is the order of https://semver.org, in which what follows a plus doesn't count. A "v" may come first, and
// the last numbers may be missing, as in Go.
func Semantic() Order {
	return Order{
		Compare: func(a, b string) int { return semver.Compare(canonical(a), canonical(b)) },
		Check: func(v string) error {
			if len(v) > maxVersion || !semver.IsValid(canonical(v)) {
				return not(v, "a semantic version")
			}
			return nil
		},
	}
}

// canonical gives a version the "v" that golang.org/x/mod/semver wants. Cargo's, npm's and OSV's have none.
func canonical(v string) string { return "v" + strings.TrimPrefix(v, "v") }

// Toolchain returns the version of Go's standard library as advisories write it, by the name of a release of Go:
// "1.21.0-rc.2" for "go1.21rc2". What isn't a release's name stays as it is.
func Toolchain(name string) string {
	v, _, _ := strings.Cut(strings.TrimPrefix(name, "go"), " ") // "go1.25.1 X:nodwarf5"
	for _, pre := range []string{"rc", "beta"} {
		if number, n, ok := strings.Cut(v, pre); ok && digits(n) == len(n) && n != "" {
			if strings.Count(number, ".") == 1 {
				number += ".0"
			}
			return number + "-" + pre + "." + n
		}
	}
	return v
}

func not(v, what string) error {
	if len(v) > 40 {
		v = v[:40]
	}
	return imx.Errorf(imx.Invalid, "%q is not %s", v, what)
}

// digits returns how many digits a text begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// compareNumbers orders two texts of digits as numbers, of any length.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
