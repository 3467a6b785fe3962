package vuln

import (
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"imx/internal/deb"
)

// orders is the order of versions of one kind of ecosystem.
type order struct {
	compare func(a, b string) int
	check   func(v string) error
}

// orderOf returns the order of an ecosystem's versions. ok is false where imx knows none: then only versions that
// are named one by one can match.
func orderOf(ecosystem string) (o order, ok bool) {
	kind, _, _ := strings.Cut(ecosystem, ":")
	switch kind {
	case "Debian":
		return order{deb.Compare, deb.CheckVersion}, true
	case "Go", "npm", "crates.io", "Hex", "Pub", "SwiftURL":
		return order{compareSemver, checkSemver}, true
	}
	return order{}, false
}

// checker refuses what isn't a version of the ecosystem.
func checker(ecosystem string) func(string) error {
	if o, ok := orderOf(ecosystem); ok {
		return o.check
	}
	return func(v string) error {
		if v == "" || isOdd(v) {
			return refused("version %s is not usable", clip(v))
		}
		return nil
	}
}

// canonical gives a version the "v" that golang.org/x/mod/semver wants. Cargo's, npm's and OSV's have none.
func canonical(v string) string { return "v" + strings.TrimPrefix(v, "v") }

func compareSemver(a, b string) int { return semver.Compare(canonical(a), canonical(b)) }

func checkSemver(v string) error {
	if len(v) > maxText || !semver.IsValid(canonical(v)) {
		return refused("version %s is not a semantic version", clip(v))
	}
	return nil
}

// Affects reports whether a version of the advisory's package has the vulnerability. A version that doesn't parse has
// only what names it.
func (a *Advisory) Affects(version string) bool {
	if slices.Contains(a.Versions, version) {
		return true
	}
	o, ok := orderOf(a.Ecosystem)
	if !ok || o.check(version) != nil {
		return false
	}
	for _, r := range a.Ranges {
		if o.within(version, r) {
			return true
		}
	}
	return false
}

// hasFix reports whether the advisory knows a version that doesn't have the vulnerability any more.
func (a *Advisory) hasFix() bool {
	return len(a.Versions) > 0 || slices.ContainsFunc(a.Ranges, func(r Range) bool { return r.Fixed != "" || r.Last != "" })
}

// within reports whether a version lies in a range. An introduced "0" is before every version, also before "0~".
func (o order) within(v string, r Range) bool {
	switch {
	case r.Introduced != "" && r.Introduced != "0" && o.compare(v, r.Introduced) < 0:
		return false
	case r.Fixed != "":
		return o.compare(v, r.Fixed) < 0
	case r.Last != "":
		return o.compare(v, r.Last) <= 0
	}
	return true
}

// fixedFor returns the version that frees an affected one of the vulnerability, or "" where none is known. Where the
// advisory names several, for several branches, it is the next one above the version.
func (a *Advisory) fixedFor(version string) string {
	o, ok := orderOf(a.Ecosystem)
	if !ok {
		return ""
	}
	best := ""
	for _, r := range a.Ranges {
		if r.Fixed != "" && o.compare(version, r.Fixed) < 0 && (best == "" || o.compare(r.Fixed, best) < 0) {
			best = r.Fixed
		}
	}
	return best
}
