package deb

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Index answers which packages an archive has, over all its suites. What it is asked for it reads and
// remembers, so that it always answers with the same pointers; one goroutine at a time may use it.
//
// The order of its lists means nothing: of two suites neither is newer by itself (the security suite
// isn't always), only versions are.
type Index struct {
	lists     []lister
	versions  map[string][]*Package
	providers map[string][]Provider
	essential []string
	granted   []string
	count     int // of names; 0 while it isn't known
	err       error
}

// lister is a Packages file: one in memory, or a List.
type lister interface {
	versions(name string) ([]Package, error)
	providers(virtual string) []string // sorted names of packages, of which some version may provide it
	standing() []string                // sorted names of packages, of which some version is Essential or Granted
	names() iter.Seq[string]           // sorted
}

// Provider is a package that provides a virtual name.
type Provider struct {
	Package *Package
	Version string // that it provides the name in; "" where Provides gives none
}

// NewIndex makes an index of packages in memory, a slice for each Packages file.
func NewIndex(lists ...[]Package) *Index {
	x := &Index{}
	for _, list := range lists {
		x.lists = append(x.lists, newMemory(list))
	}
	return x
}

// IndexOf makes an index of lists, whose stanzas are read as they are asked for. See Err.
func IndexOf(lists ...*List) *Index {
	x := &Index{}
	for _, l := range lists {
		x.lists = append(x.lists, l)
	}
	return x
}

// Join makes one index of several, of the suites of several archives for example. Pointers of the
// new index aren't those of the old.
func Join(indexes ...*Index) *Index {
	x := &Index{}
	for _, one := range indexes {
		x.lists = append(x.lists, one.lists...)
	}
	return x
}

// Err returns the first failure to read a list, nil where none failed: it is damaged, or its disk is.
// What couldn't be read was answered as if it weren't there, so that an answer is worth nothing
// without a look at Err.
func (x *Index) Err() error { return x.err }

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

// sameEntry reports whether two neighbours stand for the same package of the same suite. What
// several suites list stays once for each: they may have different priorities.
func sameEntry(a, b *Package) bool {
	return a.Ref() == b.Ref() && a.Archive == b.Archive && a.Suite == b.Suite
}

// Versions returns the packages of the name, of any architecture, newest first. The slice is the
// index's own.
func (x *Index) Versions(name string) []*Package {
	if known, ok := x.versions[name]; ok {
		return known
	}
	var all []*Package
	for _, l := range x.lists {
		found, err := l.versions(name)
		if x.err == nil {
			x.err = err
		}
		for i := range found {
			all = append(all, &found[i])
		}
	}
	if len(all) > 1 {
		slices.SortStableFunc(all, newestFirst)
		all = slices.CompactFunc(all, sameEntry)
	}
	if x.versions == nil {
		x.versions = map[string][]*Package{}
	}
	x.versions[name] = all
	return all
}

// Newest returns the newest package of the name that can run on the architecture, or false.
func (x *Index) Newest(name, architecture string) (*Package, bool) {
	for _, p := range x.Versions(name) {
		if p.RunsOn(architecture) {
			return p, true
		}
	}
	return nil, false
}

// Providers returns the packages that provide the name by their Provides field, in all their
// versions, sorted by name and newest first. A Provides that can't be read provides nothing: whoever
// chooses the package for its own name doesn't need it. The slice is the index's own.
func (x *Index) Providers(name string) []Provider {
	if known, ok := x.providers[name]; ok {
		return known
	}
	var all []Provider
	for _, candidate := range x.union(func(l lister) []string { return l.providers(name) }) {
		for _, p := range x.Versions(candidate) {
			all = append(all, p.provides(name)...)
		}
	}
	if x.providers == nil {
		x.providers = map[string][]Provider{}
	}
	x.providers[name] = all
	return all
}

// provides returns the package as a provider of the name, as often as it provides it.
func (p *Package) provides(name string) []Provider {
	groups, err := ParseRelations(p.Relations.Provides)
	if err != nil {
		return nil
	}
	var all []Provider
	for _, g := range groups {
		if g[0].Name == name {
			all = append(all, Provider{Package: p, Version: g[0].Version})
		}
	}
	return all
}

// union returns what the lists have, sorted, each once.
func (x *Index) union(of func(lister) []string) []string {
	var all []string
	for _, l := range x.lists {
		all = append(all, of(l)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Essential returns the names of packages of which some version is Essential, sorted. The slice
// is the index's own.
func (x *Index) Essential() []string {
	if x.essential == nil {
		x.essential = x.standing(func(p *Package) bool { return p.Essential })
	}
	return x.essential
}

// Granted returns the names of packages of which some version is Granted, sorted. The slice is the
// index's own.
func (x *Index) Granted() []string {
	if x.granted == nil {
		x.granted = x.standing((*Package).Granted)
	}
	return x.granted
}

func (x *Index) standing(is func(*Package) bool) []string {
	return slices.DeleteFunc(x.union(lister.standing), func(name string) bool {
		return !slices.ContainsFunc(x.Versions(name), is)
	})
}

// Names returns the names of all packages, in no order.
func (x *Index) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := map[string]bool{}
		for _, l := range x.lists {
			for name := range l.names() {
				if seen[name] {
					continue
				}
				if len(x.lists) > 1 {
					seen[name] = true
				}
				if !yield(name) {
					return
				}
			}
		}
	}
}

// Len returns the number of different package names.
func (x *Index) Len() int {
	if x.count == 0 {
		for range x.Names() {
			x.count++
		}
	}
	return x.count
}

// RunsOn reports whether the package is for the architecture, or for all.
func (p *Package) RunsOn(architecture string) bool {
	return p.Architecture == architecture || p.Architecture == "all"
}

// Granted reports whether maintainer scripts take p for granted though it isn't Essential: a tool to
// administer a system (Section admin) that every Debian system has (Priority required) and that
// other packages call (Multi-Arch foreign), but for what only a machine's boot needs. Scripts call
// useradd and groupadd without depending on what has them.
func (p *Package) Granted() bool {
	return !p.Essential && !p.Protected && p.Priority == "required" && p.Section == "admin" && p.MultiArch == "foreign"
}

// memory is a Packages file that was parsed as a whole.
type memory struct {
	byName  map[string][]Package
	virtual map[string][]string
}

func newMemory(list []Package) memory {
	m := memory{byName: map[string][]Package{}, virtual: map[string][]string{}}
	for _, p := range list {
		m.byName[p.Name] = append(m.byName[p.Name], p)
		groups, err := ParseRelations(p.Relations.Provides)
		if err != nil {
			continue // it provides nothing
		}
		for _, g := range groups {
			m.virtual[g[0].Name] = append(m.virtual[g[0].Name], p.Name)
		}
	}
	return m
}

func (m memory) versions(name string) ([]Package, error) { return slices.Clone(m.byName[name]), nil }

func (m memory) providers(virtual string) []string {
	return slices.Compact(slices.Sorted(slices.Values(m.virtual[virtual])))
}

func (m memory) standing() []string {
	var all []string
	for name, versions := range m.byName {
		if slices.ContainsFunc(versions, func(p Package) bool { return p.Essential || p.Granted() }) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func (m memory) names() iter.Seq[string] { return slices.Values(slices.Sorted(maps.Keys(m.byName))) }
