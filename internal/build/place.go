package build

import (
	"archive/tar"
	"crypto/md5" //nolint:gosec // what dpkg's database has
	"encoding/hex"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"imx"
	"imx/internal/deb"
)

// Unpacking most packages is no more than putting their files into place. Those are placed here, at a
// tenth of the cost, with the records that dpkg would make. Wherever dpkg would have to run
// something or to choose (a script before unpacking, files of several packages at one path, diversions,
// overrides, owners by name, triggers to set up, conflicts), the package is left to dpkg itself.

// placement is the placing of packages in one root.
type placement struct {
	x      *extractor
	db     *database
	filter filter
	// bootstrap places also the files of those that dpkg will unpack, so that there is a dpkg.
	bootstrap bool
	entangled map[*parcel]bool
}

// laid is what was found out about a package while its files were placed.
type laid struct {
	paths  []string // as in dpkg's lists: absolute, in the package's own order and spelling
	placed []string // those of paths that weren't filtered out
	md5    []string // lines of an md5sums file, if the package has none
}

// place places the packages and returns those that dpkg has to unpack. each is called before each.
func (pl *placement) place(parcels []*parcel, dir func(imx.Package) string, each func(*parcel) error) (left []*parcel, err error) {
	pl.entangled = entangled(append(slices.Clone(pl.db.installed), parcels...))
	for _, p := range parcels {
		if err := each(p); err != nil {
			return nil, err
		}
		done, err := pl.parcel(p, dir(p.pkg))
		if err != nil {
			return nil, trouble(err, "unpacking "+p.pkg.Ref())
		}
		if !done {
			left = append(left, p)
		}
	}
	return left, pl.db.write()
}

// parcel places a package, or reports that dpkg has to.
func (pl *placement) parcel(p *parcel, dir string) (done bool, err error) {
	simple := pl.simple(p)
	if !simple && !pl.bootstrap {
		return false, nil
	}
	l, err := pl.files(p, dir)
	if errors.Is(err, errTaken) {
		return false, nil
	}
	if err != nil || !simple {
		return false, err
	}
	return true, pl.db.add(p, l)
}

// simple reports whether a package's control files leave dpkg nothing to do or to choose.
func (pl *placement) simple(p *parcel) bool {
	if _, script := p.file("preinst"); script {
		return false
	}
	if _, ok := p.conffiles(); !ok {
		return false
	}
	for _, words := range p.directives() {
		if len(words) != 2 || !strings.HasPrefix(words[0], "activate") {
			return false
		}
	}
	return !pl.entangled[p]
}

// entangled returns the packages that may not be together with another of the list, or may take
// files of one, and those others.
func entangled(all []*parcel) map[*parcel]bool {
	found := map[*parcel]bool{}
	called := map[string][]*parcel{}
	for _, p := range all {
		for _, name := range append(p.provides(), p.pkg.Name) {
			called[name] = append(called[name], p)
		}
	}
	for _, p := range all {
		for _, field := range []string{"conflicts", "breaks", "replaces"} {
			for _, r := range slices.Concat(p.relations[field]...) {
				for _, q := range called[r.Name] {
					if p != q && q.meets(r) {
						found[p], found[q] = true, true
					}
				}
			}
		}
	}
	return found
}

// meets reports whether the package, or a name that it goes by, is what a relation names.
func (p *parcel) meets(r deb.Relation) bool {
	if r.Name == p.pkg.Name {
		return r.Allows(p.pkg.Version)
	}
	for _, g := range p.relations["provides"] {
		for _, provided := range g {
			if provided.Name == r.Name && r.Allows(provided.Version) {
				return true
			}
		}
	}
	return false
}

// files places a package's files. The error is errTaken where a choice was met; the rest is placed
// nevertheless, for a bootstrap.
func (pl *placement) files(p *parcel, dir string) (laid, error) {
	var l laid
	var met error
	names, _ := p.conffiles()
	conffiles := map[string]bool{}
	for _, name := range names {
		conffiles[name] = true
	}
	_, summed := p.file("md5sums")
	sums := map[string]string{}
	err := eachEntry(dir+"/"+dataTar, maxData, func(h *tar.Header, r io.Reader) error {
		name := listed(h.Name)
		l.paths = append(l.paths, name)
		place := h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeSymlink
		if name == "/." || deb.IsMergeLink(h) || pl.filter.skips(name, place) {
			return nil
		}
		l.placed = append(l.placed, name)
		sum := md5.New() //nolint:gosec // as above
		if !summed {
			r = io.TeeReader(r, sum)
		}
		err := pl.entry(name, h, r, conffiles[name])
		if errors.Is(err, errTaken) {
			met = err
			return nil
		}
		if err == nil && !summed {
			l.md5 = appendSum(l.md5, sums, h, hex.EncodeToString(sum.Sum(nil)))
		}
		return err
	})
	return l, errors.Join(err, met)
}

// listed is a path as dpkg's lists have it.
func listed(name string) string {
	name = path.Clean("/" + name)
	if name == "/" {
		return "/."
	}
	return name
}

// appendSum adds a file's line to an md5sums file. A hard link has its target's sum.
func appendSum(lines []string, sums map[string]string, h *tar.Header, sum string) []string {
	name := strings.TrimPrefix(listed(h.Name), "/")
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeLink:
		sum = sums[strings.TrimPrefix(listed(h.Linkname), "/")]
	default:
		return lines
	}
	sums[name] = sum
	return append(lines, sum+"  "+name)
}

// entry places one entry. A configuration file gets the name under which dpkg looks for it when it
// configures the package.
func (pl *placement) entry(name string, h *tar.Header, r io.Reader, conffile bool) error { //nolint:revive // a property of the entry
	if pl.db.chosen(name) || !pl.db.mayOwn(h) {
		return errTaken
	}
	place, err := deb.CleanPath(strings.TrimPrefix(name, "/"))
	if err != nil || !conffile {
		return errors.Join(err, pl.x.entry(place, h, r))
	}
	there, err := pl.x.exists(place)
	if err != nil {
		return err
	}
	if there || h.Typeflag != tar.TypeReg {
		return errTaken
	}
	return pl.x.entry(place+".dpkg-new", h, r)
}
