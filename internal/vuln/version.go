package vuln

import (
	"slices"
	"strings"

	"imx/internal/deb"
	"imx/internal/version"
)

// orderOf returns the order of an ecosystem's versions. ok is false where imx knows none: then only versions that
// are named one by one can match.
func orderOf(ecosystem string) (o version.Order, ok bool) {
	kind, _, _ := strings.Cut(ecosystem, ":")
	switch kind {
	case "Debian":
		return version.Order{Compare: deb.Compare, Check: deb.CheckVersion}, true
	case "Go", "npm", "crates.io":
		return version.Semantic(), true
	case "PyPI":
		return version.Python(), true
	case "Maven":
		return version.Maven(), true
	}
	return version.Order{}, false
}

// checker refuses what isn't a version of the ecosystem.
func checker(ecosystem string) func(string) error {
	if o, ok := orderOf(ecosystem); ok {
		return o.Check
	}
	return func(v string) error {
		if v == "" || isOdd(v) {
			return refused("version %s is not usable", clip(v))
		}
		return nil
	}
}

// Affects reports whether a version of the advisory's package has the vulnerability. A version that doesn't parse has
// only what names it, letter by letter.
func (a *Advisory) Affects(v string) bool {
	if slices.Contains(a.Versions, v) {
		return true
	}
	o, ok := orderOf(a.Ecosystem)
	if !ok || o.Check(v) != nil {
		return false
	}
	return slices.ContainsFunc(a.Ranges, func(r Range) bool { return within(o, v, r) }) ||
		slices.ContainsFunc(a.Versions, func(named string) bool { return o.Check(named) == nil && o.Compare(v, named) == 0 })
}

// hasFix reports whether the advisory knows a version that doesn't have the vulnerability any more.
func (a *Advisory) hasFix() bool {
	return len(a.Versions) > 0 || slices.ContainsFunc(a.Ranges, func(r Range) bool { return r.Fixed != "" || r.Last != "" })
}

// within reports whether a version lies in a range. An introduced "0" is before every version, also before "0~".
func within(o version.Order, v string, r Range) bool {
	switch {
	case r.Introduced != "" && r.Introduced != "0" && o.Compare(v, r.Introduced) < 0:
		return false
	case r.Fixed != "":
		return o.Compare(v, r.Fixed) < 0
	case r.Last != "":
		return o.Compare(v, r.Last) <= 0
	}
	return true
}

// fixedFor returns the version that frees an affected one of the vulnerability, or "" where none is known. Where the
// advisory names several, for several branches, it is the next one above the version.
func (a *Advisory) fixedFor(v string) string {
	o, ok := orderOf(a.Ecosystem)
	if !ok {
		return ""
	}
	best := ""
	for _, r := range a.Ranges {
		if r.Fixed != "" && o.Compare(v, r.Fixed) < 0 && (best == "" || o.Compare(r.Fixed, best) < 0) {
			best = r.Fixed
		}
	}
	return best
}
