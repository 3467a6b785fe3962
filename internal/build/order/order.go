// Package order says which packages can be unpacked, and which must be configured first: none is unpacked
// before what it pre-depends on is configured (Debian policy 7.2).
package order

import (
	"maps"
	"slices"
)

// Package is what the order goes by. Relations are lists of alternatives, by name.
type Package struct {
	Name       string
	Provides   []string // further names that it goes by
	PreDepends [][]string
	Depends    [][]string
}

// names are all that the package goes by.
func (p Package) names() []string { return append([]string{p.Name}, p.Provides...) }

// Queue has the packages that are on their way into a root. What nothing in it brings is taken to be in
// the root already.
type Queue struct {
	waiting    []Package          // not yet unpacked, in the order in which they came
	unpacked   map[string]Package // by every name
	configured map[string]bool    // by every name
}

// New returns a queue for a root in which the packages of these names are configured.
func New(settled []string) *Queue {
	q := &Queue{unpacked: map[string]Package{}, configured: map[string]bool{}}
	q.Settle(settled)
	return q
}

// Wait adds a package that is to be unpacked.
func (q *Queue) Wait(p Package) { q.waiting = append(q.waiting, p) }

// Arrive adds a package that is unpacked already.
func (q *Queue) Arrive(p Package) {
	for _, name := range p.names() {
		q.unpacked[name] = p
	}
}

// Settle notes that unpacked packages, or others by their name alone, are configured.
func (q *Queue) Settle(names []string) {
	for _, name := range names {
		q.configured[name] = true
		for _, provided := range q.unpacked[name].Provides {
			q.configured[provided] = true
		}
	}
}

// Waiting returns the names of the packages that wait.
func (q *Queue) Waiting() []string {
	var names []string
	for _, p := range q.waiting {
		names = append(names, p.Name)
	}
	return names
}

// Ready takes out of the queue, as unpacked, the packages whose pre-dependencies are configured, and
// returns their names.
func (q *Queue) Ready() []string {
	var ready, rest []Package
	for _, p := range q.waiting {
		if q.blocked(p) {
			rest = append(rest, p)
		} else {
			ready = append(ready, p)
		}
	}
	q.waiting = rest
	var names []string
	for _, p := range ready {
		q.Arrive(p)
		names = append(names, p.Name)
	}
	return names
}

// Needed returns which unpacked packages to configure so that waiting ones can go on: those that they
// pre-depend on, with all that those depend on. As long as there are some, they are such that nothing
// which they depend on waits itself; otherwise they are all that is there of it. Sorted by name.
func (q *Queue) Needed() []string {
	complete := q.complete()
	whole, all := map[string]bool{}, map[string]bool{}
	for _, p := range q.waiting {
		for _, names := range p.PreDepends {
			if q.met(names, complete) {
				q.gather(names, complete, whole)
			}
			q.gather(names, complete, all)
		}
	}
	if len(whole) == 0 {
		whole = all
	}
	return slices.Sorted(maps.Keys(whole))
}

// blocked reports whether a pre-dependency of p is among the packages that aren't configured yet.
func (q *Queue) blocked(p Package) bool {
	return slices.ContainsFunc(p.PreDepends, func(names []string) bool {
		return !slices.ContainsFunc(names, q.isConfigured) && slices.ContainsFunc(names, q.coming)
	})
}

func (q *Queue) isConfigured(name string) bool { return q.configured[name] }

func (q *Queue) coming(name string) bool {
	_, there := q.unpacked[name]
	return there || slices.ContainsFunc(q.waiting, func(p Package) bool { return slices.Contains(p.names(), name) })
}

// complete are the unpacked packages, by their own name, that can be configured now, together with each
// other: of everything that one depends on an alternative is configured, complete itself, or in the root.
// All are taken for complete at first; what lacks something is struck out until nothing does. So circles
// are complete, and the time is at most the square of the number of relations, whatever these are.
func (q *Queue) complete() map[string]bool {
	complete := map[string]bool{}
	for _, p := range q.unpacked {
		complete[p.Name] = true
	}
	for lacking := true; lacking; {
		lacking = false
		for _, p := range q.unpacked {
			if complete[p.Name] && !q.allMet(p, complete) {
				delete(complete, p.Name)
				lacking = true
			}
		}
	}
	return complete
}

func (q *Queue) allMet(p Package, complete map[string]bool) bool {
	return !slices.ContainsFunc(slices.Concat(p.PreDepends, p.Depends), func(names []string) bool { return !q.met(names, complete) })
}

// met reports whether one of the alternatives is there as soon as the complete packages are configured.
func (q *Queue) met(names []string, complete map[string]bool) bool {
	return slices.ContainsFunc(names, func(n string) bool { return q.settled(n) || complete[q.unpacked[n].Name] }) ||
		!slices.ContainsFunc(names, q.coming)
}

// settled reports whether a name, or the package that goes by it, is configured.
func (q *Queue) settled(name string) bool {
	return q.configured[name] || q.configured[q.unpacked[name].Name]
}

// gather adds what has to be configured for one of the alternatives to be, with all that it depends on.
func (q *Queue) gather(names []string, complete, found map[string]bool) {
	todo := [][]string{names}
	for len(todo) > 0 {
		names, todo = todo[0], todo[1:]
		for _, p := range q.choose(names, complete, found) {
			found[p.Name] = true
			todo = append(append(todo, p.PreDepends...), p.Depends...)
		}
	}
}

// choose returns the first of the alternatives that is complete, none if one before it is configured or
// found, and where no alternative is any of these all that are unpacked.
func (q *Queue) choose(names []string, complete, found map[string]bool) []Package {
	var all []Package
	for _, name := range names {
		p, ok := q.unpacked[name]
		switch {
		case q.settled(name) || ok && found[p.Name]:
			return nil
		case ok && complete[p.Name]:
			return []Package{p}
		case ok:
			all = append(all, p)
		}
	}
	return all
}
