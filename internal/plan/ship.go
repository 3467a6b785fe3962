package plan

import (
	"cmp"
	"slices"

	"imx"
	"imx/internal/deb"
)

// groups are an image's packages.
type groups struct{ base, tools, ship []imx.Package }

// shipper finds out which of the chosen packages an image is made of.
//
// The packages that were asked for by name are shipped, whatever they are. From them the
// shipper follows Depends and Pre-Depends, but not into configuration tools: packages
// that Debian's maintainer scripts call (to make users, alternatives, links for init), and that a program
// depends on only because its scripts do. No field says which those are. These do, in Debian's practice:
//
//   - Essential packages are there on every Debian system, so that scripts may call them without
//     saying so. A Depends on one says that a script needs a new enough version of it.
//   - Section admin and debian-installer are tools to administer a whole system: adduser, debconf,
//     init-system-helpers, passwd, systemd. An image has nothing to administer. But a program may
//     be split into several packages of one source, all in admin (dbus and dbus-daemon): those
//     are followed, save from a library, which depends on its source's tools for its scripts.
//   - Priority required is the same set seen from another side (mawk is in it alone), and Priority
//     important is what people expect beside it on any Unix (iproute2, cpio, less), which init
//     scripts take for granted as people do. Libraries are neither, and nor is data about places and
//     languages (section localization: tzdata, which databases read at run time).
//   - Section perl, because Perl is the language of Debian's tools and its interpreter is
//     Essential: a server that depends on Perl does so for the scripts around it. Where a
//     package of that section was reached, Perl is what the image is about, and from there the
//     whole of it is followed, its Essential interpreter too.
//
// Libraries of Essential packages (libc6, libcrypt1, zlib1g) are none of these and ship as any other.
//
// The rule errs in two known ways. A shell script in a program's package finds no shell: ask for
// dash. A tool in an ordinary section, such as ucf, is shipped without need, which costs a few kilobytes.
type shipper struct {
	*pass

	asked   map[string]bool
	without map[string]bool // whether one that is shipped depends on it, by name
	ship    map[string]bool
	queue   []*deb.Package
}

// group splits the chosen packages. Of what the image does without it returns the names that it would
// have been without anyway.
func group(p *pass, asked, without []string) (g groups, needless []string) {
	s := shipper{pass: p, asked: map[string]bool{}, without: map[string]bool{}, ship: map[string]bool{}}
	for _, name := range without {
		s.without[name] = false
	}
	for _, name := range asked {
		s.asked[name] = true
	}
	for _, name := range asked {
		s.ships(p.chosen[name].pkg)
	}
	for len(s.queue) > 0 {
		from := s.queue[0]
		s.queue = s.queue[1:]
		s.follow(from)
	}
	var inBase, tools, ship []*deb.Package
	for i, n := range p.order {
		switch {
		case i < p.base:
			inBase = append(inBase, n.pkg)
		case !s.ship[n.pkg.Name]:
			tools = append(tools, n.pkg)
		}
		if s.ship[n.pkg.Name] {
			ship = append(ship, n.pkg)
		}
	}
	for _, name := range without {
		if !s.without[name] {
			needless = append(needless, name)
		}
	}
	return groups{sortedPins(inBase), sortedPins(tools), sortedPins(ship)}, needless
}

func (s *shipper) ships(p *deb.Package) {
	if _, out := s.without[p.Name]; out {
		s.without[p.Name] = true
		return
	}
	if !s.ship[p.Name] {
		s.ship[p.Name] = true
		s.queue = append(s.queue, p)
	}
}

func (s *shipper) follow(from *deb.Package) {
	relations := s.relations(from)
	for _, g := range relations.needs {
		if to := s.answer(g); to != nil && wanted(from, to) {
			s.ships(to)
		}
	}
	if !s.recommends {
		return
	}
	for _, g := range relations.wishes {
		if to := s.answer(g); to != nil {
			s.ships(to) // as if it had been asked for: no script may count on what is only recommended
		}
	}
}

// answer returns the chosen package that answers the relation: one that was asked for, else the
// first in the order of preference.
func (s *shipper) answer(g deb.Group) *deb.Package {
	targets := slices.DeleteFunc(s.targets(g), func(t *deb.Package) bool { return s.chosen[t.Name] == nil })
	for _, t := range targets {
		if s.asked[t.Name] {
			return t
		}
	}
	if len(targets) == 0 {
		return nil
	}
	return targets[0]
}

// wanted reports whether an image that ships from needs to there too.
func wanted(from, to *deb.Package) bool {
	switch to.Section {
	case "admin", "debian-installer":
		return !to.Essential && source(from) == source(to) && from.Section != "libs"
	case "perl":
		return from.Section == "perl"
	case "libs", "localization":
		return !to.Essential
	}
	return !to.Essential && to.Priority != "required" && to.Priority != "important"
}

// source returns the name of the source package that p was built from.
func source(p *deb.Package) string { return cmp.Or(p.Source, p.Name) }
