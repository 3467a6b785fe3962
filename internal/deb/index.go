package deb

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Index answers which packages an archive has, over all its suites. It doesn't change once made
// and may be used from several goroutines.
type Index struct {
	byName    map[string][]*Package
	providers map[string][]Provider
	essential []string
	granted   []string
}

// Provider is a package that provides a virtual name.
type Provider struct {
	Package *Package
	Version string // that it provides the name in; "" where Provides gives none
}

// NewIndex makes an index of the lists, one per Packages file. It keeps pointers into the lists,
// so they mustn't be changed afterwards. The order of the lists means nothing: of two suites
// neither is newer by itself (the security suite isn't always), only versions are.
func NewIndex(lists ...[]Package) *Index {
	x := &Index{byName: map[string][]*Package{}, providers: map[string][]Provider{}}
	for _, list := range lists {
		for i := range list {
			p := &list[i]
			x.byName[p.Name] = append(x.byName[p.Name], p)
		}
	}
	for name, versions := range x.byName {
		if len(versions) > 1 {
			slices.SortFunc(versions, newestFirst)
			x.byName[name] = slices.CompactFunc(versions, func(a, b *Package) bool { return a.Ref() == b.Ref() })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.byName)) {
		if slices.ContainsFunc(x.byName[name], func(p *Package) bool { return p.Essential }) {
			x.essential = append(x.essential, name)
		}
		if slices.ContainsFunc(x.byName[name], (*Package).Granted) {
			x.granted = append(x.granted, name)
		}
		for _, p := range x.byName[name] {
			x.addProvider(p)
		}
	}
	return x
}

// newestFirst orders the packages of one name. Of equal versions one is chosen that depends on
// their content alone, so that it is the same in any order of the lists.
func newestFirst(a, b *Package) int {
	return cmp.Or(
		Compare(b.Version, a.Version),
		strings.Compare(a.Version, b.Version), // "1.0" and "1.0-0" are equal, but not the same
		-strings.Compare(a.Architecture, b.Architecture),
		strings.Compare(a.Archive, b.Archive),
		strings.Compare(a.Suite, b.Suite),
		strings.Compare(a.Path, b.Path),
		strings.Compare(string(a.Digest), string(b.Digest)),
	)
}

// addProvider notes what p provides. A Provides that can't be read provides nothing: whoever
// chooses p for its own name doesn't need it.
func (x *Index) addProvider(p *Package) {
	groups, err := ParseRelations(p.Relations.Provides)
	if err != nil {
		return
	}
	for _, g := range groups {
		x.providers[g[0].Name] = append(x.providers[g[0].Name], Provider{Package: p, Version: g[0].Version})
	}
}

// Versions returns the packages of the name, of any architecture, newest first. The slice is the
// index's own.
func (x *Index) Versions(name string) []*Package { return x.byName[name] }

// Newest returns the newest package of the name that can run on the architecture, or false.
func (x *Index) Newest(name, architecture string) (*Package, bool) {
	for _, p := range x.byName[name] {
		if p.RunsOn(architecture) {
			return p, true
		}
	}
	return nil, false
}

// Providers returns the packages that provide the name by their Provides field, in all their
// versions, sorted by name and newest first. The slice is the index's own.
func (x *Index) Providers(name string) []Provider { return x.providers[name] }

// Essential returns the names of packages of which some version is Essential, sorted. The slice
// is the index's own.
func (x *Index) Essential() []string { return x.essential }

// Granted returns the names of packages of which some version is Granted, sorted. The slice is the
// index's own.
func (x *Index) Granted() []string { return x.granted }

// Names returns the names of all packages, in no order.
func (x *Index) Names() iter.Seq[string] { return maps.Keys(x.byName) }

// Len returns the number of different package names.
func (x *Index) Len() int { return len(x.byName) }

// RunsOn reports whether the package is for the architecture, or for all.
func (p *Package) RunsOn(architecture string) bool {
	return p.Architecture == architecture || p.Architecture == "all"
}

// Granted reports whether maintainer scripts take p for granted though it isn't Essential: a tool to
// administer a system (Section admin) that every Debian system has (Priority required) and that
// other packages call (Multi-Arch foreign). Scripts call useradd and groupadd without
// depending on what has them.
func (p *Package) Granted() bool {
	return !p.Essential && p.Priority == "required" && p.Section == "admin" && p.MultiArch == "foreign"
}
