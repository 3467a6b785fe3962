package inventory

import (
	"cmp"
	"slices"

	"imx"
	"imx/internal/deb"
)

// Chain is a way along relations from a package that the template names to another.
type Chain struct {
	From  string `json:"from"` // the package that the template names
	Steps []Step `json:"steps,omitempty"`
}

// Step is one relation, and the package of the image that meets it.
type Step struct {
	From     string `json:"from"`     // the package that has the relation
	Field    string `json:"field"`    // "Pre-Depends", "Depends" or "Recommends"
	Relation string `json:"relation"` // the alternative that holds: "libssl3 (>= 3.0.0)"
	To       string `json:"to"`
	Version  string `json:"version"` // of To
	// Provides says that To has another name than the relation, and provides that one.
	Provides bool `json:"provides,omitempty"`
}

// chains returns a shortest chain from each package that is asked for and leads to the named one.
// Among chains of one length, a dependency comes before a recommendation and then names decide.
func (c *contents) chains(name string) []Chain {
	var all []Chain
	steps := c.graph()
	for _, from := range c.names() {
		if !c.packages[from].Asked {
			continue
		}
		if found, ok := shortest(steps, from, name); ok {
			all = append(all, Chain{from, found})
		}
	}
	slices.SortStableFunc(all, func(a, b Chain) int { return cmp.Compare(len(a.Steps), len(b.Steps)) })
	return all
}

// shortest searches breadth first. It returns false where no way leads from the one to the other.
func shortest(steps map[string][]Step, from, to string) ([]Step, bool) {
	came := map[string]Step{from: {}}
	queue := []string{from}
	for len(queue) > 0 && came[to].To == "" && to != from {
		for _, s := range steps[queue[0]] {
			if _, seen := came[s.To]; !seen {
				came[s.To] = s
				queue = append(queue, s.To)
			}
		}
		queue = queue[1:]
	}
	if _, ok := came[to]; !ok {
		return nil, false
	}
	var way []Step
	for at := to; at != from; at = came[at].From {
		way = append(way, came[at])
	}
	slices.Reverse(way)
	return way, true
}

// graph returns each package's steps, its dependencies before its recommendations.
func (c *contents) graph() map[string][]Step {
	providers := map[string][]provider{}
	for _, name := range c.names() {
		p := c.packages[name]
		providers[name] = append(providers[name], provider{p, p.Version, false})
		for _, g := range groups(p.Provides) {
			providers[g[0].Name] = append(providers[g[0].Name], provider{p, g[0].Version, true})
		}
	}
	steps := map[string][]Step{}
	for _, p := range c.inv.Packages {
		for _, field := range []struct{ name, value string }{
			{"Pre-Depends", p.PreDepends}, {"Depends", p.Depends}, {"Recommends", p.Recommends},
		} {
			for _, g := range groups(field.value) {
				steps[p.Name] = append(steps[p.Name], met(p.Name, field.name, g, providers)...)
			}
		}
	}
	return steps
}

// provider is a package under a name that it has or provides.
type provider struct {
	pkg     imx.InventoryPackage
	version string // that it has the name in
	virtual bool
}

// met returns the packages that meet a relation, by any of its alternatives.
func met(from, field string, g deb.Group, providers map[string][]provider) []Step {
	var steps []Step
	for _, r := range g {
		for _, p := range providers[r.Name] {
			if p.pkg.Name != from && r.Allows(p.version) {
				steps = append(steps, Step{from, field, r.String(), p.pkg.Name, p.pkg.Version, p.virtual})
			}
		}
	}
	return steps
}

// groups reads a relation field. One that can't be read has none: a package with it would not
// have been installed, and who asks wants to see the rest.
func groups(field string) []deb.Group {
	found, err := deb.ParseRelations(field)
	if err != nil {
		return nil
	}
	return found
}
