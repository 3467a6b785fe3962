package vuln

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"imx"
	"imx/internal/deb"
	"imx/internal/version"
)

// Package is one package of an image, as feeds speak of it: in Debian a source package, with the binary packages
// that the image has of it, else a piece of software in files.
type Package struct {
	Ecosystem string   `json:"ecosystem"`
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Binaries  []Binary `json:"binaries,omitempty"` // sorted by name
	Files     []string `json:"files,omitempty"`    // that it is in, where no package of the image is it; sorted
}

// Binary is a package as it is installed.
type Binary struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// names are those of the binary packages.
func (p *Package) names() []string {
	var all []string
	for _, b := range p.Binaries {
		if len(all) == 0 || all[len(all)-1] != b.Name {
			all = append(all, b.Name)
		}
	}
	return all
}

// Packages returns the packages of an image, sorted, and notices about those that no feed can speak of.
func Packages(in imx.Inventory) (all []Package, notices []string) {
	whole := imageRelease(in)
	index := map[string]int{}
	unknown := 0
	for _, p := range in.Packages {
		release := Release(p.Suite)
		if release == "" {
			release = whole
		}
		if release == "" {
			unknown++
		}
		one := Package{Ecosystem: Debian(release), Name: p.Source, Version: p.SourceVersion, Binaries: []Binary{{p.Name, p.Version}}}
		key := one.Ecosystem + "\x00" + one.Name + "\x00" + one.Version
		if i, ok := index[key]; ok {
			all[i].Binaries = append(all[i].Binaries, one.Binaries...)
			continue
		}
		index[key] = len(all)
		all = append(all, one)
	}
	if unknown > 0 {
		notices = append(notices, "the release of Debian isn't known of "+count(unknown, "package")+": no advisory can be matched to them")
	}
	for i := range all {
		slices.SortFunc(all[i].Binaries, compareBinaries)
		all[i].Binaries = slices.Compact(all[i].Binaries)
	}
	slices.SortFunc(all, comparePackages)
	return all, notices
}

func comparePackages(a, b Package) int {
	return cmp.Or(
		cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name), deb.Compare(a.Version, b.Version),
		cmp.Compare(a.Version, b.Version), slices.CompareFunc(a.Binaries, b.Binaries, compareBinaries), slices.Compare(a.Files, b.Files),
	)
}

func compareBinaries(a, b Binary) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version))
}

// imageRelease finds the release of an image whose packages come from suites without a codename: that of base-files,
// else the one that most versions of security and stable updates name ("...+deb12u3").
func imageRelease(in imx.Inventory) string {
	votes := map[string]int{}
	for _, p := range in.Packages {
		if release := Release(p.Suite); release != "" {
			votes[release] += 2
		}
		if p.Name == "base-files" {
			number, _, _ := strings.Cut(p.Version, ".")
			number, _, _ = strings.Cut(number, "+")
			if release, ok := releases()[number]; ok {
				return release
			}
		}
		_, rest, _ := strings.Cut(p.Version, "+deb")
		number, _, _ := strings.Cut(rest, "u")
		if release, ok := releases()[number]; ok {
			votes[release]++
		}
	}
	best := ""
	for release, n := range votes {
		if n > votes[best] || n == votes[best] && release > best {
			best = release
		}
	}
	return best
}

// Feed is a book with its feed's name.
type Feed struct {
	Name string
	Date time.Time // how new it is
	Book *Book
}

// Find returns the vulnerabilities that feeds say a package has, each once, by name. What several feeds say of one is
// joined: it is fixed where all of them that know a fix hold it for fixed. A feed that knows of none yields to a newer
// one that does. Errors: as Book.About.
func Find(p Package, feeds []Feed) ([]imx.Vulnerability, error) {
	said, err := ask(p.Ecosystem, p.Name, feeds)
	if err != nil || said == nil {
		return nil, err
	}
	return said.find(p, feeds)
}

// answers are what feeds say of a package in any version, in the order of the feeds.
type answers [][]Advisory

// ask returns nil where no feed says anything.
func ask(ecosystem, name string, feeds []Feed) (answers, error) {
	said, spoken := make(answers, len(feeds)), false
	for i, f := range feeds {
		var err error
		if said[i], err = f.Book.About(ecosystem, name); err != nil {
			return nil, err
		}
		spoken = spoken || len(said[i]) > 0
	}
	if !spoken {
		return nil, nil
	}
	return said, nil
}

func (said answers) find(p Package, feeds []Feed) ([]imx.Vulnerability, error) {
	repaired := said.repaired(p.Version, feeds)
	found := map[string]*imx.Vulnerability{}
	for i, f := range feeds {
		for j := range said[i] {
			a := &said[i][j]
			if a.Affects(p.Version) && (a.hasFix() || !repaired[a.ID].After(f.Date)) {
				join(found, a, p, f.Name)
			}
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	all := make([]imx.Vulnerability, 0, len(found))
	for _, v := range found {
		tidy(v)
		if err := exploited(v, feeds); err != nil {
			return nil, err
		}
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b imx.Vulnerability) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// repaired tells of each vulnerability that a feed holds for fixed in the version, how new the newest such feed is.
func (said answers) repaired(installed string, feeds []Feed) map[string]time.Time {
	since := map[string]time.Time{}
	for i, f := range feeds {
		for j := range said[i] {
			a := &said[i][j]
			if f.Date.After(since[a.ID]) && a.hasFix() && !a.Affects(installed) {
				since[a.ID] = f.Date
			}
		}
	}
	return since
}

func join(found map[string]*imx.Vulnerability, a *Advisory, p Package, feed string) {
	v := found[a.ID]
	if v == nil {
		v = &imx.Vulnerability{ID: a.ID, Package: imx.Affected{
			Ecosystem: p.Ecosystem, Name: p.Name, Version: p.Version, Binaries: p.names(), Files: p.Files,
		}}
		found[a.ID] = v
	}
	v.Feeds = append(v.Feeds, feed)
	v.Aliases = append(v.Aliases, a.Aliases...)
	if a.Notice != "" {
		v.Advisories = append(v.Advisories, a.Notice)
	}
	v.Level = worse(v.Level, a.Level)
	if urgencyRank(a.Urgency) > urgencyRank(v.Urgency) || v.Urgency == "" || urgencyRank(a.Urgency) == urgencyRank(v.Urgency) && a.Urgency > v.Urgency {
		v.Urgency = a.Urgency
	}
	if v.Published.IsZero() || !a.Published.IsZero() && a.Published.Before(v.Published) {
		v.Published = a.Published
	}
	fixed := a.fixedFor(p.Version)
	if o, ok := orderOf(p.Ecosystem); ok && fixed != "" && (v.Package.Fixed == "" || later(o, fixed, v.Package.Fixed)) {
		v.Package.Fixed = fixed
	}
}

// later is a total order: of versions that are equal to dpkg and not the same, one is chosen.
func later(o version.Order, a, b string) bool { return cmp.Or(o.Compare(a, b), cmp.Compare(a, b)) > 0 }

// urgencyRank orders urgencies of one level's worth.
func urgencyRank(u string) int { return rank(urgencyLevel(u)) }

func tidy(v *imx.Vulnerability) {
	for _, list := range []*[]string{&v.Feeds, &v.Aliases, &v.Advisories} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
}

// exploited notes since when the vulnerability is known to be exploited, by any of its names.
func exploited(v *imx.Vulnerability, feeds []Feed) error {
	for _, f := range feeds {
		for _, name := range append([]string{v.ID}, v.Aliases...) {
			since, err := f.Book.Exploited(name)
			if err != nil {
				return err
			}
			if !since.IsZero() && (v.Exploited.IsZero() || since.Before(v.Exploited)) {
				v.Exploited = since
			}
		}
	}
	return nil
}

// Scan returns the vulnerabilities of an image's packages, the gravest first.
func Scan(packages []Package, feeds []Feed) ([]imx.Vulnerability, error) {
	all := []imx.Vulnerability{}
	for _, p := range packages {
		found, err := Find(p, feeds)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortStableFunc(all, Graver)
	return all, nil
}

// Graver orders vulnerabilities: those that count first, of these those that are exploited, then by level, an unknown
// one as high; then the newest name.
func Graver(a, b imx.Vulnerability) int {
	return cmp.Or(
		cmp.Compare(after(a.Excused != nil), after(b.Excused != nil)),
		cmp.Compare(after(a.Exploited.IsZero()), after(b.Exploited.IsZero())),
		cmp.Compare(Gravity(b.Level), Gravity(a.Level)),
		compareNames(b.ID, a.ID),
		cmp.Compare(a.Package.Name, b.Package.Name),
		cmp.Compare(a.Package.Version, b.Package.Version),
		cmp.Compare(a.Package.Ecosystem, b.Package.Ecosystem),
		slices.Compare(a.Package.Binaries, b.Package.Binaries),
		slices.Compare(a.Package.Files, b.Package.Files),
	)
}

// after puts what is so behind what isn't.
func after(is bool) int { //nolint:revive // flag-parameter: the value is what it orders
	if is {
		return 1
	}
	return 0
}

// Gravity is a level as a number, the graver the higher. What nobody has judged counts as high: Debian publishes
// advisories for what is worth one.
func Gravity(l imx.Level) int {
	if l == "" {
		return rank(imx.High)
	}
	return rank(l)
}

// compareNames orders CVE-2024-999 before CVE-2024-10000.
func compareNames(a, b string) int {
	return cmp.Or(deb.Compare(a, b), cmp.Compare(a, b))
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
